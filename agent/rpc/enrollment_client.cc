#include "agent/rpc/enrollment_client.h"

#include <grpcpp/client_context.h>

#include <cstdint>
#include <span>
#include <utility>

#include "common/util/bytes.h"
#include "common/util/status_macros.h"
#include "proto/cupel/v1/attestation.grpc.pb.h"

namespace cupel::agent {
absl::StatusOr<EnrollmentClient> EnrollmentClient::Create(
    const std::string& address, const ChannelOptions& options) {
  CUPEL_ASSIGN_OR_RETURN(std::shared_ptr<grpc::Channel> channel,
                         MakeVerifierChannel(address, options));
  return EnrollmentClient(address, std::move(channel));
}

absl::StatusOr<EnrollmentClient::Begun> EnrollmentClient::Begin(
    const tpm::BeginEnrollment& request, absl::Duration timeout,
    const std::stop_token& stop) const {
  v1::BeginEnrollmentRequest message;
  message.set_agent_id(ToText(request.agent_id));
  for (const auto& certificate : request.ek_certificates) {
    message.add_ek_certificates(ToText(certificate));
  }
  message.set_ek_template(request.ek_template);
  message.set_ak_public(ToText(request.ak_public));
  message.set_enrollment_token(request.enrollment_token);
  message.set_agent_version(request.agent_version);

  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
  v1::BeginEnrollmentReply reply;
  CUPEL_RETURN_IF_ERROR(FromGrpcStatus(
      v1::Enrollment::NewStub(channel_)->Begin(&context, message, &reply),
      address_));
  CUPEL_ASSIGN_OR_RETURN(const crypto::Digest certificate,
                         PeerCertificateSha256(*context.auth_context()));
  return Begun{.challenge = {.credential_blob =
                                 ToVector(AsBytes(reply.credential_blob())),
                             .encrypted_secret =
                                 ToVector(AsBytes(reply.encrypted_secret())),
                             .cookie = ToVector(AsBytes(reply.cookie()))},
               .certificate_sha256 = certificate};
}

absl::StatusOr<std::string> EnrollmentClient::Complete(
    const tpm::CompleteEnrollment& request, absl::Duration timeout,
    const std::stop_token& stop) const {
  v1::CompleteEnrollmentRequest message;
  message.set_cookie(ToText(request.cookie));
  message.set_proof(ToText(request.proof));
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
  v1::CompleteEnrollmentReply reply;
  CUPEL_RETURN_IF_ERROR(FromGrpcStatus(
      v1::Enrollment::NewStub(channel_)->Complete(&context, message, &reply),
      address_));
  return reply.state();
}

}  // namespace cupel::agent
