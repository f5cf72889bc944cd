#include "verifier/rpc/status.h"

#include <cstddef>
#include <string>

namespace cupel::verifier {
namespace {

constexpr size_t kMaxMessageSize = 1024;

bool IsOurs(absl::StatusCode code) {
  return code == absl::StatusCode::kInternal ||
         code == absl::StatusCode::kUnknown ||
         code == absl::StatusCode::kDataLoss ||
         code == absl::StatusCode::kUnavailable;
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status, absl::string_view call,
                    Logger& log) {
  if (status.ok()) return grpc::Status::OK;
  const auto code = static_cast<grpc::StatusCode>(status.code());
  if (IsOurs(status.code())) {
    log.Error("call failed", {{"call", call}, {"error", status}});
    return {code, "something failed in the verifier: see its log"};
  }
  return {code, std::string(status.message().substr(0, kMaxMessageSize))};
}

}  // namespace cupel::verifier
