#include "verifier/rpc/operator_gate.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/util/status_macros.h"
#include "grpc/grpc_security_constants.h"

namespace cupel::verifier {

absl::StatusOr<OperatorIdentity> OperatorGate::Admit(
    const grpc::CallbackServerContext& context, Access access) {
  const std::shared_ptr<const grpc::AuthContext> peer = context.auth_context();
  if (peer == nullptr || !peer->IsPeerAuthenticated()) {
    return absl::UnauthenticatedError("no client certificate");
  }
  const std::vector<grpc::string_ref> certificates =
      peer->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (certificates.size() != 1) {
    return absl::UnauthenticatedError("no client certificate");
  }
  auto identity =
      OperatorIdentityFromPem({certificates[0].data(), certificates[0].size()});
  if (!identity.ok()) {
    return absl::UnauthenticatedError(identity.status().message());
  }
  CUPEL_RETURN_IF_ERROR(Check(*identity));
  if (access == Access::kChange && identity->role != OperatorRole::kAdmin) {
    return absl::PermissionDeniedError(
        absl::StrCat("the role ", OperatorRoleName(identity->role),
                     " may look, and change "
                     "nothing: use a certificate of an admin"));
  }
  return *std::move(identity);
}

absl::Status OperatorGate::Check(const OperatorIdentity& identity) {
  if (absl::Now() >= identity.not_after) {
    return absl::UnauthenticatedError("the client certificate has expired");
  }
  const absl::Status denied = deny_list_.Check(identity.spki_sha256);
  if (!denied.ok()) return absl::UnauthenticatedError(denied.message());
  return absl::OkStatus();
}

}  // namespace cupel::verifier
