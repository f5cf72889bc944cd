// absl::Status as gRPC's, in the one place where it leaves the process.
#ifndef CUPEL_VERIFIER_RPC_STATUS_H_
#define CUPEL_VERIFIER_RPC_STATUS_H_

#include <exception>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/util/log.h"
#include "grpcpp/support/status.h"

namespace cupel::verifier {

// The two enumerations have the same numbers and meanings. A message tells the
// peer what it did wrong; what went wrong in here (kInternal, kUnknown,
// kDataLoss, kUnavailable) is logged with the name of the `call`, and the peer
// gets the code and "see the verifier's log". Messages are cut at 1 KiB: they
// travel as metadata.
grpc::Status ToGrpc(const absl::Status& status, absl::string_view call,
                    Logger& log);

// What `function` returns, an absl::Status or StatusOr; kInternal for whatever
// it throws, which must not get into gRPC's threads.
template <typename Result, typename Function>
Result NoThrow(const Function& function) {
  try {
    return function();
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  } catch (...) {
    return absl::InternalError("something was thrown that is no exception");
  }
}

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_STATUS_H_
