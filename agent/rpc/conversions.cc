#include "agent/rpc/conversions.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) +
         absl::Nanoseconds(duration.nanos());
}

void Fill(HelloMessage message, v1::AgentMessage& out) {
  v1::Hello& hello = *out.mutable_hello();
  hello.set_agent_id(ToText(message.agent_id.bytes()));
  hello.set_protocol_version(message.protocol_version);
  hello.set_agent_version(std::move(message.agent_version));
  hello.set_entry_count(message.entry_count);
  for (const crypto::HashAlgorithm bank : message.banks) {
    hello.add_banks(std::string(crypto::HashAlgorithmName(bank)));
  }
  for (const uint32_t pcr : message.list_pcrs) hello.add_list_pcrs(pcr);
  hello.set_big_endian(message.big_endian);
  for (const std::vector<uint8_t>& stream : message.previous_streams) {
    hello.add_previous_streams(ToText(stream));
  }
  hello.set_joins(true);
}

void Fill(const QuoteMessage& message, v1::AgentMessage& out) {
  v1::Quote& quote = *out.mutable_quote();
  quote.set_attest(ToText(message.attest));
  quote.set_signature(ToText(message.signature));
  message.pcrs.ForEach([&](uint32_t pcr, const crypto::Digest& value) {
    v1::PcrValue& one = *quote.add_pcrs();
    one.set_bank(std::string(crypto::HashAlgorithmName(value.algorithm())));
    one.set_pcr(pcr);
    one.set_value(ToText(value.bytes()));
  });
  quote.set_nonce(ToText(message.nonce));
}

void Fill(const ChunkMessage& message, v1::AgentMessage& out) {
  v1::ListChunk& chunk = *out.mutable_chunk();
  chunk.set_data(ToText(message.data));
  chunk.set_last(message.last);
}

absl::StatusOr<tpm::PcrSelection> ToSelection(const v1::Challenge& challenge) {
  std::vector<tpm::BankSelection> banks;
  for (const v1::BankSelection& selection : challenge.selection()) {
    const std::optional<crypto::HashAlgorithm> bank =
        crypto::HashAlgorithmFromName(selection.bank());
    if (!bank) {
      return absl::InvalidArgumentError(
          absl::StrCat("the challenge asks for the bank ",
                       Quoted(selection.bank()), ", which is unknown"));
    }
    uint32_t mask = 0;
    for (const uint32_t pcr : selection.pcrs()) {
      if (pcr >= tpm::kPcrCount || mask >> pcr != 0) {
        return absl::InvalidArgumentError(
            absl::StrCat("the challenge asks for PCR ", pcr,
                         ": PCRs are 0 to 23, and given in ascending order"));
      }
      mask |= uint32_t{1} << pcr;
    }
    banks.push_back({.bank = *bank, .mask = mask});
  }
  return tpm::PcrSelection::Create(std::move(banks));
}

absl::StatusOr<VerifierMessage> ToChallenge(const v1::Challenge& challenge) {
  CUPEL_ASSIGN_OR_RETURN(tpm::PcrSelection selection, ToSelection(challenge));
  return ChallengeMessage{
      .nonce = ToVector(AsBytes(challenge.nonce())),
      .certificate_sha256 = ToVector(AsBytes(challenge.certificate_sha256())),
      .selection = std::move(selection),
      .answer_within = ToDuration(challenge.answer_within()),
      .now = challenge.now(),
      .least_interval = ToDuration(challenge.least_interval())};
}

}  // namespace

v1::AgentMessage ToProto(AgentMessage message) {
  v1::AgentMessage out;
  std::visit([&](auto& one) { Fill(std::move(one), out); }, message);
  return out;
}

absl::StatusOr<VerifierMessage> FromProto(const v1::VerifierMessage& message) {
  switch (message.message_case()) {
    case v1::VerifierMessage::kChallenge:
      return ToChallenge(message.challenge());
    case v1::VerifierMessage::kListRequest:
      return ListRequestMessage{
          .first_entry = message.list_request().first_entry(),
          .byte_offset = message.list_request().byte_offset()};
    case v1::VerifierMessage::kVerdict: {
      const v1::Verdict& verdict = message.verdict();
      return VerdictMessage{
          .state = verdict.state(),
          .next_entry = verdict.next_entry(),
          .next_byte_offset = verdict.next_byte_offset(),
          .pending_count = verdict.pending_count(),
          .findings = {verdict.findings().begin(), verdict.findings().end()},
          .reason = verdict.reason()};
    }
    case v1::VerifierMessage::kRefusal:
      return RefusalMessage{
          .reason = message.refusal().reason(),
          .retry_after = ToDuration(message.refusal().retry_after())};
    case v1::VerifierMessage::MESSAGE_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      "the verifier sent a message of no kind that this agent knows: it may "
      "speak a later version of the protocol");
}

absl::StatusOr<std::optional<VerifierMessage>> JoinedFromProto(
    const v1::VerifierMessage& message) {
  if (!message.has_verdict() || !message.verdict().has_next()) {
    return std::nullopt;
  }
  CUPEL_ASSIGN_OR_RETURN(VerifierMessage challenge,
                         ToChallenge(message.verdict().next()));
  return challenge;
}

}  // namespace cupel::agent
