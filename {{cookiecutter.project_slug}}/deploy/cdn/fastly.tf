# Fastly in front of the application. What it may keep, and for how long, the application says in its answers
# (Surrogate-Control); what it forgets, `flask cdn purge`. For Terraform or OpenTofu, with FASTLY_API_KEY set.

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
  description = "A name of the origin that leads to it and not to Fastly"
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

  # Who is known gets an answer of their own; other cookies, as those of analytics, are of no use to the application.
  snippet {
    name     = "personal"
    type     = "recv"
    priority = 100
    content  = <<-VCL
      set req.http.X-Forwarded-Proto = "https";
      unset req.http.X-Forwarded-Host;
      if (req.http.Authorization || req.http.Cookie ~ "(^|;\s*)session=") {
        return(pass);
      }
      unset req.http.Cookie;
    VCL
  }

  # A failure does not take the place of an old answer.
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

  # Browsers count from now on: max-age is shorter than what is allowed to a CDN.
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
