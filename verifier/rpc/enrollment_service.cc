#include "verifier/rpc/enrollment_service.h"

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tpm/enrollment_messages.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"
#include "common/util/steady_clock.h"
#include "verifier/rpc/peer.h"
#include "verifier/rpc/status.h"
#include "verifier/rpc/unary.h"

namespace cupel::verifier {
namespace {

constexpr char kPoolKey[] = "enrolment";

absl::StatusOr<v1::BeginEnrollmentReply> DoBegin(
    const Enroller& enroller, const crypto::Digest& certificate,
    const v1::BeginEnrollmentRequest& request) {
  tpm::BeginEnrollment begin;
  begin.agent_id = ToVector(AsBytes(request.agent_id()));
  for (const std::string& der : request.ek_certificates()) {
    begin.ek_certificates.push_back(ToVector(AsBytes(der)));
  }
  begin.ek_template = request.ek_template();
  begin.ak_public = ToVector(AsBytes(request.ak_public()));
  begin.enrollment_token = request.enrollment_token();
  begin.agent_version = request.agent_version();
  CUPEL_ASSIGN_OR_RETURN(const tpm::EnrollmentChallenge challenge,
                         enroller.Begin(begin, certificate));
  v1::BeginEnrollmentReply reply;
  reply.set_credential_blob(ToText(challenge.credential_blob));
  reply.set_encrypted_secret(ToText(challenge.encrypted_secret));
  reply.set_cookie(ToText(challenge.cookie));
  return reply;
}

absl::StatusOr<v1::CompleteEnrollmentReply> DoComplete(
    const Enroller& enroller, const std::vector<crypto::Digest>& certificates,
    const std::string& address, const v1::CompleteEnrollmentRequest& request,
    Logger& log) {
  tpm::CompleteEnrollment complete;
  complete.cookie = ToVector(AsBytes(request.cookie()));
  complete.proof = ToVector(AsBytes(request.proof()));
  CUPEL_ASSIGN_OR_RETURN(const AgentRecord record,
                         enroller.Complete(complete, address, certificates));
  log.Info("agent enrolled", {{"agent", record.id.ToString()},
                              {"ek_sha256", record.enrollment->ek_sha256},
                              {"address", address},
                              {"state", AgentStateName(record.state)}});
  v1::CompleteEnrollmentReply reply;
  reply.set_state(std::string(AgentStateName(record.state)));
  return reply;
}

}  // namespace

template <typename Reply, typename Function>
grpc::ServerUnaryReactor* EnrollmentService::Run(
    grpc::CallbackServerContext* context, Reply* reply, absl::string_view call,
    Function function) {
  const std::string address = PeerAddress(context->peer());
  auto place = limits_.Begin(address);
  if (!place.ok()) {
    NoteRefused(place.status(), call, address);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(place.status(), call, log_));
    return reactor;
  }
  // The place is given up with the function. Strangers' calls take one thread
  // at a time, whatever each costs [A15].
  return RunUnary(context, reply, call, kPoolKey, pool_, log_,
                  [this, call, address, place = *std::move(place),
                   function = std::move(function)] {
                    auto result = function();
                    if (!result.ok()) {
                      NoteRefused(result.status(), call, address);
                    }
                    return result;
                  });
}

void EnrollmentService::NoteRefused(const absl::Status& status,
                                    absl::string_view call,
                                    const std::string& address) {
  metrics_.CountEnrollment(/*ok=*/false);
  refusals_.Write(LogLevel::kWarning, "enrolment refused", address,
                  {{"call", call}, {"error", status}}, SteadyNow());
}

grpc::ServerUnaryReactor* EnrollmentService::Begin(
    grpc::CallbackServerContext* context,
    const v1::BeginEnrollmentRequest* request,
    v1::BeginEnrollmentReply* reply) {
  return Run(context, reply, "Enrollment.Begin", [this, request] {
    return DoBegin(enroller_, certificate_.current()->certificate_sha256,
                   *request);
  });
}

grpc::ServerUnaryReactor* EnrollmentService::Complete(
    grpc::CallbackServerContext* context,
    const v1::CompleteEnrollmentRequest* request,
    v1::CompleteEnrollmentReply* reply) {
  return Run(context, reply, "Enrollment.Complete",
             [this, request, address = PeerAddress(context->peer())] {
               auto result =
                   DoComplete(enroller_, certificate_.Accepted(SteadyNow()),
                              address, *request, log_);
               if (result.ok()) metrics_.CountEnrollment(/*ok=*/true);
               return result;
             });
}

}  // namespace cupel::verifier
