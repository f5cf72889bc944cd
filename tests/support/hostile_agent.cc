#include "tests/support/hostile_agent.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/rpc/conversions.h"
#include "agent/rpc/verifier_channel.h"
#include "common/tpm/binding.h"
#include "common/util/bytes.h"

namespace cupel::testing {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;

constexpr auto kPatience = std::chrono::seconds(60);
constexpr int kMaxRounds = 5;

std::string Text(std::span<const uint8_t> bytes) {
  return std::string(AsText(bytes));
}

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
}

template <typename T>
T Get(absl::StatusOr<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "hostile agent: %s\n",
                 result.status().ToString().c_str());
    std::abort();
  }
  return *std::move(result);
}

}  // namespace

absl::StatusOr<BegunEnrollment> BeginEnrollment(
    const std::shared_ptr<grpc::Channel>& channel,
    const tpm::BeginEnrollment& request) {
  v1::BeginEnrollmentRequest message;
  message.set_agent_id(Text(request.agent_id));
  for (const std::vector<uint8_t>& der : request.ek_certificates) {
    message.add_ek_certificates(Text(der));
  }
  message.set_ek_template(request.ek_template);
  message.set_ak_public(Text(request.ak_public));
  message.set_enrollment_token(request.enrollment_token);
  message.set_agent_version(request.agent_version);
  grpc::ClientContext context;
  SetDeadline(context);
  v1::BeginEnrollmentReply reply;
  const grpc::Status status =
      v1::Enrollment::NewStub(channel)->Begin(&context, message, &reply);
  if (!status.ok()) return agent::FromGrpcStatus(status, "begin");
  BegunEnrollment begun;
  begun.challenge.credential_blob = ToVector(AsBytes(reply.credential_blob()));
  begun.challenge.encrypted_secret =
      ToVector(AsBytes(reply.encrypted_secret()));
  begun.challenge.cookie = ToVector(AsBytes(reply.cookie()));
  begun.certificate_sha256 =
      Get(agent::PeerCertificateSha256(*context.auth_context()));
  return begun;
}

absl::StatusOr<tpm::CompleteEnrollment> AnswerEnrollment(
    HeldMachine& machine, const BegunEnrollment& begun) {
  return machine.enrollee().Answer(begun.challenge, begun.certificate_sha256,
                                   [&machine](std::span<const uint8_t> blob,
                                              std::span<const uint8_t> secret) {
                                     return machine.Activate(blob, secret);
                                   });
}

absl::StatusOr<std::string> CompleteEnrollment(
    const std::shared_ptr<grpc::Channel>& channel,
    const tpm::CompleteEnrollment& request) {
  v1::CompleteEnrollmentRequest message;
  message.set_cookie(Text(request.cookie));
  message.set_proof(Text(request.proof));
  grpc::ClientContext context;
  SetDeadline(context);
  v1::CompleteEnrollmentReply reply;
  const grpc::Status status =
      v1::Enrollment::NewStub(channel)->Complete(&context, message, &reply);
  if (!status.ok()) return agent::FromGrpcStatus(status, "complete");
  return reply.state();
}

absl::StatusOr<std::string> EnrollHeld(
    const std::shared_ptr<grpc::Channel>& channel, HeldMachine& machine,
    const Tampering& tampering) {
  tpm::BeginEnrollment request = machine.enrollee().request();
  if (tampering.begin) tampering.begin(request);
  const auto begun = BeginEnrollment(channel, request);
  if (!begun.ok()) return begun.status();
  auto answer = AnswerEnrollment(machine, *begun);
  if (!answer.ok()) return answer.status();
  if (tampering.complete) tampering.complete(*answer);
  return CompleteEnrollment(channel, *answer);
}

HostileStream::HostileStream(const std::shared_ptr<grpc::Channel>& channel,
                             HeldMachine& machine, Tampering tampering)
    : machine_(machine),
      tampering_(std::move(tampering)),
      stub_(v1::Attestation::NewStub(channel)) {
  SetDeadline(context_);
  stream_ = stub_->Attest(&context_);
}

HostileStream::~HostileStream() {
  context_.TryCancel();
  if (!finished_) {
    while (Take()) {
    }
  }
}

bool HostileStream::Send(const v1::AgentMessage& message) {
  return stream_->Write(message);
}

bool HostileStream::SendHello() {
  v1::AgentMessage message;
  v1::Hello& hello = *message.mutable_hello();
  hello.set_agent_id(Text(machine_.id().bytes()));
  hello.set_protocol_version(agent::kProtocolVersion);
  hello.set_agent_version("1.0");
  for (const HashAlgorithm bank : machine_.Banks()) {
    hello.add_banks(std::string(crypto::HashAlgorithmName(bank)));
  }
  hello.add_list_pcrs(10);
  if (tampering_.hello) tampering_.hello(hello);
  return Send(message);
}

v1::Quote HostileStream::MakeQuote(const agent::ChallengeMessage& challenge) {
  QuoteInputs inputs{.nonce = challenge.nonce,
                     .agent_id = machine_.id(),
                     .certificate_sha256 = challenge.certificate_sha256,
                     .selection = challenge.selection};
  if (tampering_.quote_inputs) tampering_.quote_inputs(inputs);
  if (!inputs.qualifying_data.has_value()) {
    const Digest data = Get(tpm::QuoteQualifyingData(
        inputs.nonce, inputs.agent_id,
        Get(Digest::Create(HashAlgorithm::kSha256,
                           inputs.certificate_sha256))));
    inputs.qualifying_data = ToVector(data.bytes());
  }
  agent::QuoteResult made =
      Get(machine_.Quote(*inputs.qualifying_data, inputs.selection));
  v1::AgentMessage message =
      agent::ToProto(agent::QuoteMessage{.attest = std::move(made.attest),
                                         .signature = std::move(made.signature),
                                         .pcrs = std::move(made.pcrs),
                                         .nonce = challenge.nonce});
  if (tampering_.quote) tampering_.quote(*message.mutable_quote());
  return message.quote();
}

bool HostileStream::SendQuote(const agent::ChallengeMessage& challenge) {
  v1::AgentMessage message;
  *message.mutable_quote() = MakeQuote(challenge);
  return Send(message);
}

std::vector<uint8_t> HostileStream::RestOfList() {
  std::vector<uint8_t> list = machine_.List();
  list.erase(list.begin(),
             list.begin() + static_cast<std::ptrdiff_t>(
                                std::min<uint64_t>(offset_, list.size())));
  return list;
}

bool HostileStream::SendChunk(std::vector<uint8_t> data, bool last) {
  return Send(agent::ToProto(
      agent::ChunkMessage{.data = std::move(data), .last = last}));
}

bool HostileStream::SendList(size_t chunk_size) {
  std::vector<uint8_t> list = RestOfList();
  if (tampering_.list) tampering_.list(list);
  size_t sent = 0;
  while (list.size() - sent > chunk_size) {
    const auto from = list.begin() + static_cast<std::ptrdiff_t>(sent);
    const auto to = from + static_cast<std::ptrdiff_t>(chunk_size);
    if (!SendChunk({from, to}, /*last=*/false)) return false;
    sent += chunk_size;
  }
  return SendChunk(
      {list.begin() + static_cast<std::ptrdiff_t>(sent), list.end()},
      /*last=*/true);
}

bool HostileStream::Take() {
  if (finished_) return false;
  v1::VerifierMessage message;
  if (!stream_->Read(&message)) {
    finished_ = true;
    const grpc::Status status = stream_->Finish();
    if (!outcome_.has_value()) {
      outcome_ = absl::StrCat(
          "ended: ", absl::StatusCodeToString(
                         static_cast<absl::StatusCode>(status.error_code())));
    }
    return false;
  }
  switch (message.message_case()) {
    case v1::VerifierMessage::kChallenge:
      armed_ =
          std::get<agent::ChallengeMessage>(Get(agent::FromProto(message)));
      break;
    case v1::VerifierMessage::kListRequest:
      list_requested_ = true;
      proven_ = true;
      offset_ = message.list_request().byte_offset();
      break;
    case v1::VerifierMessage::kVerdict:
      // Its quote has used up every challenge that was open.
      armed_.reset();
      verdict_ = message.verdict();
      offset_ = verdict_.next_byte_offset();
      outcome_ =
          absl::StrCat(verdict_.state(), verdict_.findings().empty() ? "" : " ",
                       absl::StrJoin(verdict_.findings(), " "));
      break;
    case v1::VerifierMessage::kRefusal:
      refusal_ = message.refusal();
      outcome_ = absl::StrCat("refused: ", refusal_.reason());
      break;
    case v1::VerifierMessage::MESSAGE_NOT_SET:
      outcome_ = "a message of no kind";
      break;
  }
  return true;
}

std::string HostileStream::Outcome() {
  while (!outcome_.has_value() && Take()) {
  }
  return std::exchange(outcome_, std::nullopt).value_or("ended before");
}

std::optional<agent::ChallengeMessage> HostileStream::AwaitChallenge() {
  while (!armed_.has_value() && !outcome_.has_value() && Take()) {
  }
  return std::exchange(armed_, std::nullopt);
}

bool HostileStream::AwaitListRequest() {
  while (!list_requested_ && !outcome_.has_value() && Take()) {
  }
  return list_requested_;
}

bool HostileStream::Prove() {
  if (!SendHello()) return false;
  const auto challenge = AwaitChallenge();
  return challenge.has_value() && SendQuote(*challenge) && AwaitListRequest();
}

std::string HostileStream::Round() {
  const auto challenge = AwaitChallenge();
  if (!challenge.has_value() || !SendQuote(*challenge)) return Outcome();
  if (!proven_ && !AwaitListRequest()) return Outcome();
  SendList();
  return Outcome();
}

std::string HostileStream::Attest() {
  SendHello();
  return Round();
}

std::string HostileStream::Settle() {
  std::string outcome = Round();
  for (int i = 1; i < kMaxRounds && outcome.rfind("PENDING", 0) == 0; ++i) {
    outcome = Round();
  }
  return outcome;
}

}  // namespace cupel::testing
