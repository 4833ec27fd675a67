# Varnish 7 as CDN. The application decides in its responses what is cached and for how long (CDN-Cache-Control), and
# `flask cdn purge` deletes it. To check this file: varnishd -C -f varnish.vcl
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

# Clients that may purge: the hosts on which `flask cdn purge` runs.
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
            # Without spaces and backslashes, which have a meaning in ban expressions.
            ban("obj.http.Surrogate-Key ~ (^|[^A-Za-z0-9_.-])(" + req.http.Keys + ")([^A-Za-z0-9_.-]|$)");
        } else {
            return (synth(400));
        }
        return (synth(200));
    }

    # Only Varnish sets this header.
    unset req.http.X-Forwarded-Host;
    if (std.port(server.ip) == 443) {
        set req.http.X-Forwarded-Proto = "https";
    } else {
        set req.http.X-Forwarded-Proto = "http";
    }

    # Writes, and requests with a session or Authorization, bypass the cache. The application does not use other cookies for pages, and
    # none of analytics.
    if (req.method != "GET" && req.method != "HEAD") {
        return (pass);
    }
    if (req.http.Authorization || req.http.Cookie ~ "(^|;\s*)(__(Host|Secure)-)?session[a-z0-9-]*=") {
        return (pass);
    }
    unset req.http.Cookie;

    # A stale response is served only during its refresh, or longer if the application is unavailable.
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
    # An error must not replace a stale response.
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
    # The age of a response in browsers starts at 0: max-age is shorter than the CDN's TTL.
    unset resp.http.Age;
    unset resp.http.CDN-Cache-Control;
    unset resp.http.Surrogate-Key;
    unset resp.http.Via;
    unset resp.http.X-Varnish;
}
