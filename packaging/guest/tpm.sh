#!/usr/bin/env bash
# Manufactures a software TPM whose endorsement keys have certificates of a CA
# of its own:
#
#   packaging/guest/tpm.sh DIR CA [BANKS]
#
# The TPM's state goes to DIR, which must be empty or absent. CA is made if it
# isn't there; the roots for a verifier's ek_roots are CA/roots/*.pem. BANKS are
# the active PCR banks, "sha256" unless given.
set -euo pipefail
dir=${1:?usage: tpm.sh DIR CA [BANKS]}
ca=${2:?usage: tpm.sh DIR CA [BANKS]}
banks=${3:-sha256}
mkdir -p "$dir" "$ca"
dir=$(cd "$dir" && pwd)
ca=$(cd "$ca" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/localca.conf" <<END
statedir = $ca
signingkey = $ca/signkey.pem
issuercert = $ca/issuercert.pem
certserial = $ca/certserial
END
cat >"$work/localca.options" <<END
--tpm-manufacturer id:00001014
--tpm-version 2
--tpm-model swtpm
--platform-manufacturer Example
--platform-version 1.0
--platform-model Example
END
cat >"$work/setup.conf" <<END
create_certs_tool=$(command -v swtpm_localca)
create_certs_tool_config=$work/localca.conf
create_certs_tool_options=$work/localca.options
END
swtpm_setup --tpm2 --tpmstate "$dir" --config "$work/setup.conf" \
  --createek --create-ek-cert --pcr-banks "$banks" >"$work/log" 2>&1 || {
  cat "$work/log" >&2
  exit 1
}
mkdir -p "$ca/roots"
cp "$ca/swtpm-localca-rootca-cert.pem" "$ca/issuercert.pem" "$ca/roots/"
