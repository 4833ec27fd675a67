# Cloudflare in front of the application. What it may keep, and for how long, the application says in its answers
# (CDN-Cache-Control); what it forgets, `flask cdn purge`. For Terraform or OpenTofu, with CLOUDFLARE_API_TOKEN set.

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
  description = "The address of the origin, whose firewall lets only Cloudflare in"
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

# The origin has a certificate that is checked.
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

# Cloudflare keeps pages and JSON only where a rule lets it. Of two rules that match, the later one wins.
resource "cloudflare_ruleset" "cache" {
  zone_id = var.zone_id
  name    = "{{ cookiecutter.project_slug }}"
  kind    = "zone"
  phase   = "http_request_cache_settings"

  rules = [
    {
      ref         = "as_the_application_says"
      description = "Keep what the application calls public, for as long as it says"
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
      description = "Ask the application for whoever has a session or is authorized"
      expression  = "(http.host eq \"${var.domain_name}\" and (http.cookie contains \"session=\" or len(http.request.headers[\"authorization\"]) gt 0))"
      action      = "set_cache_settings"
      action_parameters = {
        cache = false
      }
    },
  ]
}
