// An agent that does everything right until a test has it do one thing
// otherwise: over the verifier's real services, with a machine whose TPM is
// genuine.
#ifndef CUPEL_TESTS_SUPPORT_HOSTILE_AGENT_H_
#define CUPEL_TESTS_SUPPORT_HOSTILE_AGENT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/attester/messages.h"
#include "common/tpm/enrollment_messages.h"
#include "common/tpm/pcr_selection.h"
#include "common/util/agent_id.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "proto/cupel/v1/attestation.grpc.pb.h"
#include "tests/support/held_machine.h"

namespace cupel::testing {

// What a quote is asked for with.
struct QuoteInputs {
  std::vector<uint8_t> nonce;
  AgentId agent_id;
  std::vector<uint8_t> certificate_sha256;
  tpm::PcrSelection selection;
  // Instead of the hash over nonce, id and certificate.
  std::optional<std::vector<uint8_t>> qualifying_data = std::nullopt;
};

// Where a hostile agent departs from what is right; what is empty, it does as
// it should. Each is called just before its message is made or leaves.
struct Tampering {
  std::function<void(tpm::BeginEnrollment&)> begin = {};
  std::function<void(tpm::CompleteEnrollment&)> complete = {};
  std::function<void(v1::Hello&)> hello = {};
  std::function<void(QuoteInputs&)> quote_inputs = {};
  std::function<void(v1::Quote&)> quote = {};
  // The rest of the list that was asked for.
  std::function<void(std::vector<uint8_t>&)> list = {};
};

// Enrols over the Enrollment service. The agent's state, or the error of the
// first step that was refused.
absl::StatusOr<std::string> EnrollHeld(
    const std::shared_ptr<grpc::Channel>& channel, HeldMachine& machine,
    const Tampering& tampering = {});
// Its two calls, for what lies between them. The answer to Begin, with the hash
// of the certificate that TLS showed.
struct BegunEnrollment {
  tpm::EnrollmentChallenge challenge;
  crypto::Digest certificate_sha256;
};
absl::StatusOr<BegunEnrollment> BeginEnrollment(
    const std::shared_ptr<grpc::Channel>& channel,
    const tpm::BeginEnrollment& request);
absl::StatusOr<std::string> CompleteEnrollment(
    const std::shared_ptr<grpc::Channel>& channel,
    const tpm::CompleteEnrollment& request);
// The right answer of a machine.
absl::StatusOr<tpm::CompleteEnrollment> AnswerEnrollment(
    HeldMachine& machine, const BegunEnrollment& begun);

// One attestation stream, which ends after a minute whatever the verifier does.
// Not thread-safe.
class HostileStream {
 public:
  // `machine` must outlive it.
  HostileStream(const std::shared_ptr<grpc::Channel>& channel,
                HeldMachine& machine, Tampering tampering = {});
  // Hangs up.
  ~HostileStream();
  HostileStream(const HostileStream&) = delete;
  HostileStream& operator=(const HostileStream&) = delete;

  // Whole steps. Their result says what came of them, in words:
  //   "TRUSTED", "FAILED ima.not_in_policy"  a verdict, and its findings
  //   "refused: REASON"                      a Refusal
  //   "ended: CODE"                          the stream's end without one
  //
  // Hello and a round.
  std::string Attest();
  // Hello, the quote, and the request for the list that follows it. False, and
  // why goes to Outcome(), if it did not get there.
  bool Prove();
  // Answers the challenge that is armed, or the next one, and sends the list.
  std::string Round();
  // Rounds until the verdict is not PENDING, 5 at the most: a verifier may want
  // the whole list, or another PCR, first.
  std::string Settle();
  // What comes next that is neither challenge nor request for the list.
  std::string Outcome();

  // Single messages, right but for the tampering. False once the stream has
  // ended.
  bool SendHello();
  bool SendQuote(const agent::ChallengeMessage& challenge);
  // The list from where it was asked for, in chunks of this size.
  bool SendList(size_t chunk_size = size_t{64} << 10);
  bool SendChunk(std::vector<uint8_t> data, bool last);
  bool Send(const v1::AgentMessage& message);
  void HalfClose() { stream_->WritesDone(); }
  void HangUp() { context_.TryCancel(); }

  // The newest challenge, waited for if none is armed. nullopt, and what came
  // instead goes to Outcome(), if the stream ends first.
  std::optional<agent::ChallengeMessage> AwaitChallenge();
  // Waits for the request that follows a stream's first quote. False as above.
  bool AwaitListRequest();

  v1::Quote MakeQuote(const agent::ChallengeMessage& challenge);
  std::vector<uint8_t> RestOfList();
  // Where the verifier wants the list from.
  uint64_t offset() const { return offset_; }
  bool proven() const { return proven_; }
  const v1::Verdict& verdict() const { return verdict_; }
  const v1::Refusal& refusal() const { return refusal_; }

 private:
  // Takes one message in. False at the stream's end.
  bool Take();

  HeldMachine& machine_;
  const Tampering tampering_;
  grpc::ClientContext context_;
  std::unique_ptr<v1::Attestation::Stub> stub_;
  std::unique_ptr<
      grpc::ClientReaderWriter<v1::AgentMessage, v1::VerifierMessage>>
      stream_;
  std::optional<agent::ChallengeMessage> armed_;
  bool list_requested_ = false;
  bool proven_ = false;
  uint64_t offset_ = 0;
  v1::Verdict verdict_;
  v1::Refusal refusal_;
  std::optional<std::string> outcome_;
  bool finished_ = false;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_HOSTILE_AGENT_H_
