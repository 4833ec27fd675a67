# Cloudflare as CDN. The application decides in its responses what is cached and for how long (CDN-Cache-Control), and
# `flask cdn purge` deletes it. Apply with Terraform or OpenTofu, with CLOUDFLARE_API_TOKEN set.

terraform {
  required_version = ">= 1.5"
  required_providers {
    cloudflare = {
      source  = "cloudflare/cloudflare"
      version = "~> 5.0"
    }
  }
}

variable "zone_id" {
  description = "CDN_ID"
  type        = string
}

variable "domain_name" {
  type    = string
  default = "{{ cookiecutter.domain_name }}"
}

variable "origin" {
  description = "IP address of the origin, whose firewall accepts only Cloudflare"
  type        = string
}

resource "cloudflare_dns_record" "site" {
  zone_id = var.zone_id
  name    = var.domain_name
  type    = "A"
  content = var.origin
  proxied = true
  ttl     = 1
}

# Cloudflare verifies the certificate of the origin.
resource "cloudflare_zone_setting" "ssl" {
  zone_id    = var.zone_id
  setting_id = "ssl"
  value      = "strict"
}

resource "cloudflare_zone_setting" "always_use_https" {
  zone_id    = var.zone_id
  setting_id = "always_use_https"
  value      = "on"
}

# Without a rule Cloudflare does not cache pages and JSON. If several rules match, the last one applies.
resource "cloudflare_ruleset" "cache" {
  zone_id = var.zone_id
  name    = "{{ cookiecutter.project_slug }}"
  kind    = "zone"
  phase   = "http_request_cache_settings"

  rules = [
    {
      ref         = "as_the_application_says"
      description = "Cache public responses for as long as the application allows"
      expression  = "(http.host eq \"${var.domain_name}\")"
      action      = "set_cache_settings"
      action_parameters = {
        cache                = true
        edge_ttl             = { mode = "respect_origin" }
        browser_ttl          = { mode = "respect_origin" }
        respect_strong_etags = true
      }
    },
    {
      ref         = "nothing_for_who_is_known"
      description = "Bypass the cache for requests with a session or Authorization"
      expression  = "(http.host eq \"${var.domain_name}\" and (http.cookie contains \"session\" or len(http.request.headers[\"authorization\"]) gt 0))"
      action      = "set_cache_settings"
      action_parameters = {
        cache = false
      }
    },
  ]
}
