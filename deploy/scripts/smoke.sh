#!/usr/bin/env bash
# Check any deployment from outside, in under 20 s: one line a check, exit code 0 only if all passed.
#
#   CLARION_API_KEY=clk_... smoke.sh URL [--namespace chat] [--ca FILE]
#
# URL is the origin that clients use, such as https://push.example. The key needs the scopes publish, read, control and
# notify (or admin); the namespace a history and presence. --ca names who signed the certificate, if that is no public one.
# It needs Python 3.9 or later, and no package.
exec python3 "$(dirname "${BASH_SOURCE[0]}")/smoke.py" "$@"
