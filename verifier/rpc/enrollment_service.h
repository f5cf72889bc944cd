// Enrolment over gRPC: moves messages to and from the Enroller.
#ifndef CUPEL_VERIFIER_RPC_ENROLLMENT_SERVICE_H_
#define CUPEL_VERIFIER_RPC_ENROLLMENT_SERVICE_H_

#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"
#include "common/util/log.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "proto/cupel/v1/attestation.grpc.pb.h"
#include "verifier/enrollment/enroller.h"
#include "verifier/pki/served_certificate.h"
#include "verifier/rpc/call_limits.h"
#include "verifier/rpc/metrics.h"
#include "verifier/rpc/refusal_log.h"
#include "verifier/session/worker_pool.h"

namespace cupel::verifier {

// Thread-safe. What it refers to must outlive it, and the service the server.
// Calls beyond the bounds of CallLimits are refused before anything is done for
// them.
class EnrollmentService final : public v1::Enrollment::CallbackService {
 public:
  EnrollmentService(const Enroller& enroller, WorkerPool& pool,
                    Metrics& metrics, Logger& log, RefusalLog& refusals,
                    const ServedCertificate& certificate)
      : enroller_(enroller),
        pool_(pool),
        metrics_(metrics),
        log_(log),
        refusals_(refusals),
        certificate_(certificate) {}

  grpc::ServerUnaryReactor* Begin(grpc::CallbackServerContext* context,
                                  const v1::BeginEnrollmentRequest* request,
                                  v1::BeginEnrollmentReply* reply) override;
  grpc::ServerUnaryReactor* Complete(
      grpc::CallbackServerContext* context,
      const v1::CompleteEnrollmentRequest* request,
      v1::CompleteEnrollmentReply* reply) override;

 private:
  // Runs `function` on the pool, unless there are too many calls. A refusal is
  // counted and logged.
  template <typename Reply, typename Function>
  grpc::ServerUnaryReactor* Run(grpc::CallbackServerContext* context,
                                Reply* reply, absl::string_view call,
                                Function function);
  void NoteRefused(const absl::Status& status, absl::string_view call,
                   const std::string& address);

  CallLimits limits_{CallLimits::Bounds()};
  const Enroller& enroller_;
  WorkerPool& pool_;
  Metrics& metrics_;
  Logger& log_;
  RefusalLog& refusals_;
  const ServedCertificate& certificate_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_ENROLLMENT_SERVICE_H_
