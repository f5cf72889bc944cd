#include "verifier/rpc/operator_gate.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/util/status_macros.h"
#include "grpc/grpc_security_constants.h"

namespace cupel::verifier {

absl::StatusOr<OperatorIdentity> OperatorGate::Identify(
    const grpc::CallbackServerContext& context) {
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
  return identity;
}

absl::Status OperatorGate::Admit(const absl::StatusOr<OperatorIdentity>& who,
                                 Access access, absl::string_view call,
                                 absl::string_view peer) {
  absl::Status status = who.ok() ? Check(*who) : who.status();
  if (status.ok() && access == Access::kChange &&
      who->role != OperatorRole::kAdmin) {
    status = absl::PermissionDeniedError(
        absl::StrCat("the role ", OperatorRoleName(who->role),
                     " may look, and change nothing: use a certificate of an "
                     "admin"));
  }
  if (!status.ok()) {
    log_.Warning("operator refused",
                 {{"call", call},
                  {"peer", peer},
                  {"operator", who.ok() ? OperatorName(*who) : ""},
                  {"tenant", who.ok() ? who->tenant : ""},
                  {"error", status}});
  }
  return status;
}

absl::Status OperatorGate::Check(const OperatorIdentity& identity) {
  if (absl::Now() >= identity.not_after) {
    return absl::UnauthenticatedError("the client certificate has expired");
  }
  const absl::Status denied = deny_list_.Check(identity.spki_sha256);
  if (!denied.ok()) return absl::UnauthenticatedError(denied.message());
  return absl::OkStatus();
}

void LogChange(const OperatorIdentity& who, absl::string_view call,
               const absl::Status& status, Logger& log) {
  log.Info("operator's call", {{"call", call},
                               {"operator", OperatorName(who)},
                               {"tenant", who.tenant},
                               {"result", status}});
}

}  // namespace cupel::verifier
