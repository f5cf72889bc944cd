// Who may call: each fleet call passes here first.
#ifndef CUPEL_VERIFIER_RPC_OPERATOR_GATE_H_
#define CUPEL_VERIFIER_RPC_OPERATOR_GATE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/util/log.h"
#include "grpcpp/server_context.h"
#include "verifier/pki/deny_list.h"
#include "verifier/pki/operator_identity.h"

namespace cupel::verifier {

enum class Access { kRead, kChange };

// Thread-safe. Whom it turns away stands in the log, with the call.
class OperatorGate {
 public:
  // `deny_list_path` as for DenyList; `log` must outlive it.
  OperatorGate(std::string deny_list_path, Logger& log)
      : deny_list_(std::move(deny_list_path)), log_(log) {}

  // The operator whose certificate TLS has verified; no more is known yet.
  // Looks at no file. kUnauthenticated where the certificate names none.
  static absl::StatusOr<OperatorIdentity> Identify(
      const grpc::CallbackServerContext& context);

  // Whether that operator may make `call`. Reads the deny list where it has
  // changed. kUnauthenticated where the certificate names nobody, has expired,
  // or its key is on the deny list; kPermissionDenied for a viewer who wants to
  // change something [A19, A41].
  absl::Status Admit(const absl::StatusOr<OperatorIdentity>& who, Access access,
                     absl::string_view call, absl::string_view peer);

  // For streams, which outlive their admission: kUnauthenticated once the
  // certificate has ended or its key is denied.
  absl::Status Check(const OperatorIdentity& identity);

 private:
  DenyList deny_list_;
  Logger& log_;
};

// Says in the log what an operator has changed, or why it could not be.
void LogChange(const OperatorIdentity& who, absl::string_view call,
               const absl::Status& status, Logger& log);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_OPERATOR_GATE_H_
