#include "tests/agent/checking_verifier.h"

#include <chrono>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/crypto/certificate.h"
#include "common/ima/list_parser.h"
#include "common/ima/replay.h"
#include "common/tpm/attestation_key.h"
#include "common/tpm/binding.h"
#include "common/tpm/make_credential.h"
#include "common/tpm/pcr_selection.h"
#include "common/tpm/pcr_values.h"
#include "common/tpm/quote.h"
#include "common/util/bytes.h"
#include "common/util/secret.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

using ::cupel::crypto::HashAlgorithm;

constexpr std::chrono::seconds kPatience(60);
constexpr uint32_t kPcrs = 0x7ff;
constexpr char kCookie[] = "cookie";

std::string Text(std::span<const uint8_t> bytes) {
  return std::string(AsText(bytes));
}

grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()),
          std::string(status.message())};
}

// How many entries of `list` explain `pcr`; nullopt if no prefix does.
absl::StatusOr<std::optional<uint64_t>> Explain(std::span<const uint8_t> list,
                                                const crypto::Digest& pcr,
                                                uint64_t& entry_count) {
  CUPEL_ASSIGN_OR_RETURN(ima::Replayer replayer,
                         ima::Replayer::Create({{HashAlgorithm::kSha256}}));
  const auto target = ima::ReplayTarget::FromValues(
      {{HashAlgorithm::kSha256, ima::kImaPcr, pcr}});
  std::optional<uint64_t> explained;
  if (replayer.Explains(target)) explained = 0;
  ima::ListParser parser{ima::ListOptions{}};
  CUPEL_RETURN_IF_ERROR(
      parser.Feed(list, [&](std::span<const ima::Entry> entries) {
        if (!explained.has_value()) {
          if (const auto taken = replayer.ExtendUntil(entries, target)) {
            explained = entries.front().index + *taken;
          }
        }
        return absl::OkStatus();
      }));
  CUPEL_RETURN_IF_ERROR(parser.Finish());
  entry_count = parser.entry_count();
  return explained;
}

// Adds what comes of the list; false where the stream ends, or something else
// comes.
bool ReadList(FakeVerifier::Stream& stream, std::vector<uint8_t>& list) {
  v1::AgentMessage message;
  do {
    if (!stream.Read(&message) || !message.has_chunk()) return false;
    Append(list, AsBytes(message.chunk().data()));
  } while (!message.chunk().last());
  return true;
}

}  // namespace

CheckingVerifier::CheckingVerifier(const testing::TestCertificate& certificate)
    : certificate_(certificate),
      server_(std::make_unique<FakeVerifier>(
          certificate,
          [this](FakeVerifier::Stream& stream) { Play(stream); })) {
  server_->on_begin = [this](const v1::BeginEnrollmentRequest& request,
                             v1::BeginEnrollmentReply& reply) {
    return ToGrpc(Begin(request, reply));
  };
  server_->on_complete = [this](const v1::CompleteEnrollmentRequest& request,
                                v1::CompleteEnrollmentReply& reply) {
    reply.set_state("ENROLLED");
    return ToGrpc(Complete(request));
  };
}

CheckingVerifier::~CheckingVerifier() { server_.reset(); }

absl::Status CheckingVerifier::Begin(const v1::BeginEnrollmentRequest& request,
                                     v1::BeginEnrollmentReply& reply) {
  CUPEL_ASSIGN_OR_RETURN(const AgentId id,
                         AgentId::FromBytes(AsBytes(request.agent_id())));
  Enrolled enrolled{.agent_id = id};
  CUPEL_ASSIGN_OR_RETURN(enrolled.ek_template,
                         tpm::EkTemplateFromName(request.ek_template()));
  CUPEL_ASSIGN_OR_RETURN(enrolled.ak,
                         tpm::ParsePublicArea(AsBytes(request.ak_public())));
  if (request.ek_certificates().empty()) {
    return absl::InvalidArgumentError("no EK certificate");
  }
  CUPEL_ASSIGN_OR_RETURN(
      const auto certificate,
      crypto::Certificate::FromDer(AsBytes(request.ek_certificates(0))));
  CUPEL_ASSIGN_OR_RETURN(const auto key, certificate.GetPublicKey());
  CUPEL_ASSIGN_OR_RETURN(const tpm::PublicArea ek,
                         tpm::EkPublicArea(enrolled.ek_template, key));
  enrolled.ek_name = ek.Name();
  enrolled.secret.assign(32, 0x5e);
  CUPEL_ASSIGN_OR_RETURN(
      const tpm::Credential credential,
      tpm::MakeCredential(ek, enrolled.ak.Name(), Secret(enrolled.secret)));
  reply.set_credential_blob(Text(credential.id_object));
  reply.set_encrypted_secret(Text(credential.encrypted_secret));
  reply.set_cookie(kCookie);
  const std::lock_guard lock(mutex_);
  enrolled_ = std::move(enrolled);
  return absl::OkStatus();
}

absl::Status CheckingVerifier::Complete(
    const v1::CompleteEnrollmentRequest& request) {
  const std::lock_guard lock(mutex_);
  if (!enrolled_.has_value()) return absl::FailedPreconditionError("no Begin");
  const std::vector<uint8_t> ak_name = enrolled_->ak.Name();
  CUPEL_ASSIGN_OR_RETURN(
      const Secret proof,
      tpm::EnrollmentProof(Secret(enrolled_->secret),
                           {.cookie = AsBytes(kCookie),
                            .agent_id = &enrolled_->agent_id,
                            .ek_name = enrolled_->ek_name,
                            .ak_name = ak_name,
                            .verifier_certificate = &certificate_.sha256}));
  if (Text(proof.Reveal()) != request.proof()) {
    failure_ = absl::PermissionDeniedError("the proof is wrong");
    return failure_;
  }
  ++enrollment_count_;
  changed_.notify_all();
  return absl::OkStatus();
}

void CheckingVerifier::Play(FakeVerifier::Stream& stream) {
  {
    const std::lock_guard lock(mutex_);
    if (refuse_) {
      v1::VerifierMessage refusal;
      refusal.mutable_refusal()->set_reason("this agent is not attested here");
      stream.Write(refusal);
      return;
    }
  }
  const absl::Status status = PlayRounds(stream);
  const std::lock_guard lock(mutex_);
  if (!status.ok() && failure_.ok()) failure_ = status;
  changed_.notify_all();
}

absl::StatusOr<tpm::ClockInfo> CheckingVerifier::CheckQuote(
    const v1::Quote& quote, const std::string& nonce, crypto::Digest& pcr) {
  std::optional<Enrolled> enrolled;
  {
    const std::lock_guard lock(mutex_);
    enrolled = enrolled_;
  }
  if (!enrolled.has_value()) return absl::FailedPreconditionError("who?");
  CUPEL_ASSIGN_OR_RETURN(const auto key,
                         tpm::AttestationKey::FromPublicArea(enrolled->ak));
  if (!key.violations().empty()) {
    return absl::PermissionDeniedError("the AK is none");
  }
  tpm::PcrValues values;
  for (const v1::PcrValue& one : quote.pcrs()) {
    CUPEL_ASSIGN_OR_RETURN(
        const auto value,
        crypto::Digest::Create(HashAlgorithm::kSha256, AsBytes(one.value())));
    CUPEL_RETURN_IF_ERROR(values.Set(one.pcr(), value));
  }
  CUPEL_ASSIGN_OR_RETURN(
      const auto selection,
      tpm::PcrSelection::Create({{HashAlgorithm::kSha256, kPcrs}}));
  CUPEL_ASSIGN_OR_RETURN(
      const auto data,
      tpm::QuoteQualifyingData(AsBytes(nonce), enrolled->agent_id,
                               certificate_.sha256));
  CUPEL_ASSIGN_OR_RETURN(
      const auto outcome,
      tpm::VerifyQuote(key, AsBytes(quote.attest()), AsBytes(quote.signature()),
                       {.qualifying_data = data.bytes(),
                        .selection = &selection,
                        .values = &values,
                        .ek_name = enrolled->ek_name}));
  if (!std::holds_alternative<tpm::VerifiedQuote>(outcome)) {
    return absl::PermissionDeniedError("the quote does not pass");
  }
  pcr = *values.Find(HashAlgorithm::kSha256, ima::kImaPcr);
  CUPEL_ASSIGN_OR_RETURN(const auto attest,
                         tpm::ParseAttest(AsBytes(quote.attest())));
  return attest.clock_info;
}

// Returns an error for what an honest agent never does. The stream's end is
// none.
absl::Status CheckingVerifier::PlayRounds(FakeVerifier::Stream& stream) {
  v1::AgentMessage message;
  if (!stream.Read(&message)) return absl::OkStatus();
  if (!message.has_hello()) return absl::InvalidArgumentError("no Hello");
  std::vector<uint8_t> list;
  std::optional<uint32_t> boot;
  bool whole_lists = false;
  for (uint32_t round = 0;; ++round) {
    v1::VerifierMessage challenge;
    std::string nonce(tpm::kNonceSize, static_cast<char>(round));
    nonce[1] = static_cast<char>(round >> 8);
    {
      const std::lock_guard lock(mutex_);
      v1::Challenge& content = *challenge.mutable_challenge();
      content.set_nonce(nonce);
      content.set_certificate_sha256(Text(certificate_.sha256.bytes()));
      v1::BankSelection& selection = *content.add_selection();
      selection.set_bank("sha256");
      for (uint32_t pcr = 0; pcr <= ima::kImaPcr; ++pcr) {
        selection.add_pcrs(pcr);
      }
      const absl::Duration interval = interval_;
      content.mutable_answer_within()->set_seconds(
          absl::ToInt64Seconds(interval));
      content.mutable_answer_within()->set_nanos(static_cast<int32_t>(
          absl::ToInt64Nanoseconds(interval % absl::Seconds(1))));
    }
    if (!stream.Write(challenge) || !stream.Read(&message)) {
      return absl::OkStatus();
    }
    if (!message.has_quote()) return absl::InvalidArgumentError("no quote");
    if (message.quote().nonce() != nonce) {
      return absl::InvalidArgumentError("a quote for another challenge");
    }
    crypto::Digest pcr(HashAlgorithm::kSha256);
    CUPEL_ASSIGN_OR_RETURN(const tpm::ClockInfo clock,
                           CheckQuote(message.quote(), nonce, pcr));
    const bool rebooted = boot.has_value() && *boot != clock.reset_count;
    boot = clock.reset_count;
    // The list may start anew at any time after a boot: all of it, each time.
    whole_lists |= rebooted;
    if (whole_lists) list.clear();
    if (round > 0 && !ReadList(stream, list)) return absl::OkStatus();
    if (round == 0 || rebooted) {
      list.clear();
      v1::VerifierMessage request;
      request.mutable_list_request()->set_byte_offset(0);
      if (!stream.Write(request) || !ReadList(stream, list)) {
        return absl::OkStatus();
      }
    }
    SeenQuote seen{.clock_info = clock};
    uint64_t entry_count = 0;
    CUPEL_ASSIGN_OR_RETURN(const auto explained,
                           Explain(list, pcr, entry_count));
    if (!explained.has_value()) {
      return absl::PermissionDeniedError("the list does not explain the PCR");
    }
    seen.explained_count = *explained;
    seen.pending_count = entry_count - *explained;
    v1::VerifierMessage verdict;
    verdict.mutable_verdict()->set_state("TRUSTED");
    verdict.mutable_verdict()->set_next_byte_offset(whole_lists ? 0
                                                                : list.size());
    verdict.mutable_verdict()->set_pending_count(seen.pending_count);
    {
      const std::lock_guard lock(mutex_);
      quotes_.push_back(seen);
      changed_.notify_all();
    }
    if (!stream.Write(verdict)) return absl::OkStatus();
  }
}

bool CheckingVerifier::WaitForQuote(
    absl::FunctionRef<bool(const SeenQuote&)> wanted, size_t skip) {
  std::unique_lock lock(mutex_);
  size_t next = skip;
  return changed_.wait_for(lock, kPatience, [&] {
    if (!failure_.ok()) return true;
    for (; next < quotes_.size(); ++next) {
      if (wanted(quotes_[next])) return true;
    }
    return false;
  }) && failure_.ok();
}

std::vector<SeenQuote> CheckingVerifier::quotes() {
  const std::lock_guard lock(mutex_);
  return quotes_;
}

int CheckingVerifier::enrollment_count() {
  const std::lock_guard lock(mutex_);
  return enrollment_count_;
}

absl::Status CheckingVerifier::failure() {
  const std::lock_guard lock(mutex_);
  return failure_;
}

std::optional<tpm::EkTemplate> CheckingVerifier::ek_template() {
  const std::lock_guard lock(mutex_);
  if (!enrolled_.has_value()) return std::nullopt;
  return enrolled_->ek_template;
}

std::optional<tpm::PublicArea> CheckingVerifier::ak() {
  const std::lock_guard lock(mutex_);
  if (!enrolled_.has_value()) return std::nullopt;
  return enrolled_->ak;
}

void CheckingVerifier::Refuse(bool refuse) {
  const std::lock_guard lock(mutex_);
  refuse_ = refuse;
}

void CheckingVerifier::SetInterval(absl::Duration interval) {
  const std::lock_guard lock(mutex_);
  interval_ = interval;
}

}  // namespace cupel::agent
