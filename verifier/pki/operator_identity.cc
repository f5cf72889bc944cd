#include "verifier/pki/operator_identity.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "verifier/pki/certificate.h"

namespace cupel::verifier {
namespace {

using crypto::Owned;

constexpr size_t kMaxShown = 120;

absl::Status Denied(absl::string_view why) {
  return absl::PermissionDeniedError(
      absl::StrCat("not an operator's certificate: ", why));
}

absl::Status CheckUsage(X509* certificate) {
  const uint32_t flags = X509_get_extension_flags(certificate);
  if ((flags & EXFLAG_INVALID) != 0) return Denied("malformed extensions");
  if ((flags & EXFLAG_CA) != 0) return Denied("it is a CA's");
  const uint32_t usage = X509_get_extended_key_usage(certificate);
  if ((flags & EXFLAG_XKUSAGE) == 0 || (usage & XKU_SSL_CLIENT) == 0) {
    return Denied("its extended key usage lacks clientAuth");
  }
  if ((usage & XKU_SSL_SERVER) != 0) return Denied("it is a server's as well");
  return absl::OkStatus();
}

// The bytes of the one URI among the alternative names.
absl::StatusOr<std::string> OnlyUri(const X509& certificate) {
  const absl::StatusOr<GeneralNamesOwner> names = AlternativeNames(certificate);
  if (!names.ok()) return Denied(names.status().message());
  std::vector<std::string> uris;
  const int count = *names == nullptr ? 0 : sk_GENERAL_NAME_num(names->get());
  for (int i = 0; i < count; ++i) {
    int type = 0;
    const auto* const value = static_cast<const ASN1_STRING*>(
        GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names->get(), i), &type));
    if (type != GEN_URI) continue;
    uris.emplace_back(AsText({ASN1_STRING_get0_data(value),
                              static_cast<size_t>(ASN1_STRING_length(value))}));
  }
  if (uris.size() != 1) {
    return Denied(absl::StrCat("it has ", uris.size(),
                               " URIs where exactly one belongs"));
  }
  return uris[0];
}

absl::Status ParseUri(absl::string_view uri, OperatorIdentity& identity) {
  // The whole is compared, so that nothing is read in two ways.
  const std::vector<absl::string_view> parts = absl::StrSplit(uri, '/');
  if (parts.size() == 6) {
    const auto role = ParseOperatorRole(parts[5]);
    if (role.ok() && ValidateTenantName(parts[3]).ok() &&
        OperatorUri(parts[3], *role) == uri) {
      identity.tenant = std::string(parts[3]);
      identity.role = *role;
      return absl::OkStatus();
    }
  }
  return Denied(absl::StrCat("its URI is ", Quoted(uri, kMaxShown), " and not ",
                             "cupel://tenant/T/role/admin or .../viewer"));
}

absl::StatusOr<OperatorIdentity> IdentityOf(X509* certificate) {
  CUPEL_RETURN_IF_ERROR(CheckUsage(certificate));
  CUPEL_ASSIGN_OR_RETURN(const std::string uri, OnlyUri(*certificate));
  OperatorIdentity identity;
  CUPEL_RETURN_IF_ERROR(ParseUri(uri, identity));
  CUPEL_ASSIGN_OR_RETURN(identity.spki_sha256, SpkiSha256(*certificate));
  CUPEL_ASSIGN_OR_RETURN(identity.not_before, NotBefore(*certificate));
  CUPEL_ASSIGN_OR_RETURN(identity.not_after, NotAfter(*certificate));
  if (const auto names = ReadNames(*certificate); names.ok()) {
    identity.common_name = names->common_name;
  }
  return identity;
}

}  // namespace

absl::string_view OperatorRoleName(OperatorRole role) {
  return role == OperatorRole::kAdmin ? "admin" : "viewer";
}

absl::StatusOr<OperatorRole> ParseOperatorRole(absl::string_view name) {
  if (name == "admin") return OperatorRole::kAdmin;
  if (name == "viewer") return OperatorRole::kViewer;
  return absl::InvalidArgumentError(
      absl::StrCat(Quoted(name, kMaxShown), " is no role: admin or viewer"));
}

std::string OperatorName(const OperatorIdentity& identity) {
  return absl::StrCat(OperatorRoleName(identity.role), " ",
                      EscapeForDisplay(identity.common_name.substr(0, 128)),
                      " (spki ", identity.spki_sha256.substr(0, 16), ")");
}

absl::Status ValidateTenantName(absl::string_view tenant) {
  const auto is_word = [](char c) {
    return absl::ascii_islower(static_cast<unsigned char>(c)) ||
           absl::ascii_isdigit(static_cast<unsigned char>(c));
  };
  if (tenant.empty() || tenant.size() > 63 || !is_word(tenant.front()) ||
      !std::ranges::all_of(tenant, [&](char c) {
        return is_word(c) || c == '-' || c == '_' || c == '.';
      })) {
    return absl::InvalidArgumentError(absl::StrCat(
        Quoted(tenant, kMaxShown),
        " is no tenant's name: 1 to 63 of a-z, 0-9, '-', '_' and '.', "
        "beginning with a letter or digit"));
  }
  return absl::OkStatus();
}

std::string OperatorUri(absl::string_view tenant, OperatorRole role) {
  return absl::StrCat("cupel://tenant/", tenant, "/role/",
                      OperatorRoleName(role));
}

absl::StatusOr<OperatorIdentity> OperatorIdentityFromDer(
    std::span<const uint8_t> der) {
  const uint8_t* position = der.data();
  const Owned<X509> certificate(
      d2i_X509(nullptr, &position, static_cast<long>(der.size())));
  if (certificate == nullptr || position != der.data() + der.size()) {
    (void)crypto::OpensslError("");  // empties the queue
    return absl::InvalidArgumentError("no certificate in DER");
  }
  return IdentityOf(certificate.get());
}

absl::StatusOr<OperatorIdentity> OperatorIdentityFromPem(
    absl::string_view pem) {
  constexpr absl::string_view kBegin = "-----BEGIN CERTIFICATE-----";
  constexpr absl::string_view kEnd = "-----END CERTIFICATE-----";
  const absl::string_view block = absl::StripAsciiWhitespace(pem);
  if (!absl::StartsWith(block, kBegin) || !absl::EndsWith(block, kEnd) ||
      block.find("-----BEGIN", 1) != absl::string_view::npos) {
    return absl::InvalidArgumentError("not one certificate in PEM");
  }
  CUPEL_ASSIGN_OR_RETURN(const Owned<X509> certificate,
                         CertificateFromPem(pem));
  return IdentityOf(certificate.get());
}

}  // namespace cupel::verifier
