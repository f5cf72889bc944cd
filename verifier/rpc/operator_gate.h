// Who may call: each fleet call passes here first.
#ifndef CUPEL_VERIFIER_RPC_OPERATOR_GATE_H_
#define CUPEL_VERIFIER_RPC_OPERATOR_GATE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "verifier/pki/deny_list.h"
#include "verifier/pki/operator_identity.h"

namespace cupel::verifier {

enum class Access { kRead, kChange };

// Thread-safe.
class OperatorGate {
 public:
  // `deny_list_path` as for DenyList.
  explicit OperatorGate(std::string deny_list_path)
      : deny_list_(std::move(deny_list_path)) {}

  // The operator whose certificate TLS has verified. kUnauthenticated where the
  // certificate names none, has expired, or its key is on the deny list;
  // kPermissionDenied for a viewer who wants to change something [A19, A41].
  absl::StatusOr<OperatorIdentity> Admit(
      const grpc::CallbackServerContext& context, Access access);

  // For streams, which outlive their first look: kUnauthenticated once the
  // certificate has ended or its key is denied.
  absl::Status Check(const OperatorIdentity& identity);

 private:
  DenyList deny_list_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_OPERATOR_GATE_H_
