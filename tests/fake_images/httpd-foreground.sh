#!/bin/sh
exec httpd -DFOREGROUND
