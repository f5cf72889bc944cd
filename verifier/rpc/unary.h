// A call with one message each way, answered by a pool's thread: nothing blocks
// one of gRPC's.
#ifndef CUPEL_VERIFIER_RPC_UNARY_H_
#define CUPEL_VERIFIER_RPC_UNARY_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/util/log.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "verifier/rpc/status.h"
#include "verifier/session/worker_pool.h"

namespace cupel::verifier {

// Runs `function`, which returns a StatusOr<Reply>, and answers with it. `call`
// names it in the log and is of static storage. Of calls with one `key` one is
// worked on at a time (WorkerPool). The pool must outlive the server's calls.
template <typename Reply, typename Function>
grpc::ServerUnaryReactor* RunUnary(grpc::CallbackServerContext* context,
                                   Reply* reply, absl::string_view call,
                                   const std::string& key, WorkerPool& pool,
                                   Logger& log, Function function) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  pool.Post(key, [=, &log, function = std::move(function)]() {
    // Whatever it throws, the peer gets an answer.
    const auto status = NoThrow<absl::Status>([&] {
      absl::StatusOr<Reply> result = function();
      if (!result.ok()) return result.status();
      *reply = *std::move(result);
      return absl::OkStatus();
    });
    reactor->Finish(ToGrpc(status, call, log));
  });
  return reactor;
}

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_UNARY_H_
