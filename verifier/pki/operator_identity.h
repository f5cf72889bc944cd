// Who an operator is, by the certificate that TLS has verified.
#ifndef CUPEL_VERIFIER_PKI_OPERATOR_IDENTITY_H_
#define CUPEL_VERIFIER_PKI_OPERATOR_IDENTITY_H_

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace cupel::verifier {

enum class OperatorRole : uint8_t { kViewer, kAdmin };
absl::string_view OperatorRoleName(OperatorRole role);  // "viewer", "admin"
// kInvalidArgument for other words.
absl::StatusOr<OperatorRole> ParseOperatorRole(absl::string_view name);

struct OperatorIdentity {
  std::string tenant;
  OperatorRole role = OperatorRole::kViewer;
  std::string common_name;  // whatever the certificate says; for logs
  std::string spki_sha256;  // lower-case hex; for the deny list
  absl::Time not_before;
  absl::Time not_after;  // streams end then
};

// How history and log call an operator: "admin alice (spki 12ab...)". Escaped.
std::string OperatorName(const OperatorIdentity& identity);

// kInvalidArgument unless `tenant` has 1 to 63 of a-z, 0-9, '-', '_' and '.',
// and begins with a letter or digit.
absl::Status ValidateTenantName(absl::string_view tenant);

// "cupel://tenant/T/role/R".
std::string OperatorUri(absl::string_view tenant, OperatorRole role);

// Takes the identity out of a client certificate: DER, nothing left over, or
// PEM of one block. The chain has been verified before, by TLS against the CA
// for clients.
//
// kPermissionDenied, never a default, unless
//   1. it is a leaf (no CA) with an extended key usage that has clientAuth and
//      not serverAuth,
//   2. it has subjectAltName once, with exactly one URI in it,
//   3. that is `cupel://tenant/T/role/R`, byte by byte: T as in
//      ValidateTenantName, R "admin" or "viewer", nothing after it.
// kInvalidArgument for what is no certificate.
//
// Trust: none of the bytes is trusted to be well-formed.
absl::StatusOr<OperatorIdentity> OperatorIdentityFromDer(
    std::span<const uint8_t> der);
absl::StatusOr<OperatorIdentity> OperatorIdentityFromPem(absl::string_view pem);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_PKI_OPERATOR_IDENTITY_H_
