# Fastly as CDN. The application decides in its responses what is cached and for how long (Surrogate-Control), and
# `flask cdn purge` deletes it. Apply with Terraform or OpenTofu, with FASTLY_API_KEY set.

terraform {
  required_version = ">= 1.5"
  required_providers {
    fastly = {
      source  = "fastly/fastly"
      version = ">= 5.0"
    }
  }
}

variable "domain_name" {
  type    = string
  default = "{{ cookiecutter.domain_name }}"
}

variable "origin" {
  description = "Host name of the origin, which must not resolve to Fastly"
  type        = string
}

resource "fastly_service_vcl" "site" {
  name = "{{ cookiecutter.project_slug }}"

  domain {
    name = var.domain_name
  }

  backend {
    name               = "application"
    address            = var.origin
    port               = 443
    use_ssl            = true
    ssl_cert_hostname  = var.origin
    ssl_sni_hostname   = var.origin
    connect_timeout    = 3000
    first_byte_timeout = 35000
  }

  request_setting {
    name      = "https"
    force_ssl = true
  }

  # Writes, and requests with a session or Authorization, bypass the cache. The application does not use other cookies for pages, and
  # none of analytics.
  snippet {
    name     = "personal"
    type     = "recv"
    priority = 100
    content  = <<-VCL
      set req.http.X-Forwarded-Proto = "https";
      unset req.http.X-Forwarded-Host;
      if (req.method != "GET" && req.method != "HEAD") {
        return(pass);
      }
      if (req.http.Authorization || req.http.Cookie ~ "(^|;\s*)(__(Host|Secure)-)?session[a-z0-9-]*=") {
        return(pass);
      }
      unset req.http.Cookie;
    VCL
  }

  # An error does not replace a stale response.
  snippet {
    name     = "stale"
    type     = "fetch"
    priority = 100
    content  = <<-VCL
      if (http_status_matches(beresp.status, "500,502,503,504") && stale.exists) {
        return(deliver_stale);
      }
    VCL
  }

  # The age of a response in browsers starts at 0: max-age is shorter than the CDN's TTL.
  snippet {
    name     = "age"
    type     = "deliver"
    priority = 100
    content  = <<-VCL
      if (!req.http.Fastly-FF) {
        unset resp.http.Age;
      }
    VCL
  }
}

output "service_id" {
  description = "CDN_ID"
  value       = fastly_service_vcl.site.id
}
