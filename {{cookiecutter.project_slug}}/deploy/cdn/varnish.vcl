# Varnish 7 as a CDN of one's own. What it may keep, and for how long, the application says in its answers
# (CDN-Cache-Control); what it forgets, `flask cdn purge`. Check it: varnishd -C -f varnish.vcl
vcl 4.1;

import std;

backend application {
    .host = "127.0.0.1";
    .port = "8000";
    .connect_timeout = 3s;
    .first_byte_timeout = 35s;
    .between_bytes_timeout = 10s;
    .probe = {
        .url = "/health/live";
        .interval = 5s;
        .timeout = 2s;
        .window = 3;
        .threshold = 2;
        .initial = 2;
    }
}

# Who may make it forget: where `flask cdn purge` is run.
acl purgers {
    "127.0.0.1";
    "::1";
}

sub vcl_recv {
    if (req.method == "PURGE") {
        if (client.ip !~ purgers) {
            return (synth(405));
        }
        if (!req.http.Surrogate-Key) {
            return (purge);
        }
        if (req.http.Surrogate-Key == "*") {
            ban("obj.status != 0");
        } else if (req.http.Surrogate-Key ~ "^[A-Za-z0-9_.-]+( [A-Za-z0-9_.-]+)*$") {
            set req.http.Keys = regsuball(req.http.Surrogate-Key, " ", "|");
            # Without a space or a backslash, which a ban takes for its own.
            ban("obj.http.Surrogate-Key ~ (^|[^A-Za-z0-9_.-])(" + req.http.Keys + ")([^A-Za-z0-9_.-]|$)");
        } else {
            return (synth(400));
        }
        return (synth(200));
    }

    # Only Varnish says this.
    unset req.http.X-Forwarded-Host;
    if (std.port(server.ip) == 443) {
        set req.http.X-Forwarded-Proto = "https";
    } else {
        set req.http.X-Forwarded-Proto = "http";
    }

    # Who is known gets an answer of their own; other cookies, as those of analytics, are of no use to the application.
    if (req.http.Authorization || req.http.Cookie ~ "(^|;\s*)session=") {
        return (pass);
    }
    unset req.http.Cookie;

    # Old answers are only for the moment in which a new one is made, unless the application is away.
    if (std.healthy(req.backend_hint)) {
        set req.grace = 60s;
    }
}

sub vcl_backend_response {
    if (beresp.http.CDN-Cache-Control ~ "max-age=\d+" && !beresp.http.Set-Cookie) {
        set beresp.ttl = std.duration(
            regsub(beresp.http.CDN-Cache-Control, "^.*max-age=(\d+).*$", "\1s"), 0s);
        set beresp.grace = std.duration(
            regsub(beresp.http.CDN-Cache-Control, "^.*stale-if-error=(\d+).*$", "\1s"), 60s);
    }
    # What failed must not take the place of an old answer.
    if (beresp.status >= 500 && bereq.is_bgfetch) {
        return (abandon);
    }
}

sub vcl_deliver {
    if (obj.hits > 0) {
        set resp.http.X-Cache = "hit";
    } else {
        set resp.http.X-Cache = "miss";
    }
    # Browsers count from now on: max-age is shorter than what is allowed to a CDN.
    unset resp.http.Age;
    unset resp.http.CDN-Cache-Control;
    unset resp.http.Surrogate-Key;
    unset resp.http.Via;
    unset resp.http.X-Varnish;
}
