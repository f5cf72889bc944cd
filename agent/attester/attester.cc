#include "agent/attester/attester.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "common/tpm/binding.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/hex.h"
#include "common/util/status_context.h"

namespace cupel::agent {
namespace {

// Those in a row that the verifier may not have heard of the end of.
constexpr size_t kMaxPreviousStreams = 8;
// The verifier takes the nonce before the present one for 2 s; what is left is
// for the way there.
constexpr absl::Duration kPreviousNonceLife = absl::Milliseconds(1500);

// How long before the end of a challenge's time the quote begins.
absl::Duration AnswerMargin(absl::Duration answer_within,
                            absl::Duration quote_took) {
  const absl::Duration margin =
      std::max(answer_within / 10, 2 * quote_took + absl::Milliseconds(200));
  return std::min(margin, answer_within / 2);
}

size_t SizeOf(const QuoteResult& quote) {
  size_t size = quote.attest.size() + quote.signature.size() + tpm::kNonceSize;
  quote.pcrs.ForEach(
      [&](uint32_t, const crypto::Digest& value) { size += value.size(); });
  return size;
}

}  // namespace

Attester::Attester(AttesterOptions options, ListSource& list)
    : options_(std::move(options)), list_(list) {
  options_.chunk_size =
      std::clamp(options_.chunk_size, size_t{1}, kMaxChunkSize);
  options_.max_unwritten_count =
      std::max(options_.max_unwritten_count, size_t{1});
}

void Attester::OnConnected(absl::Time now) {
  OnDisconnected();
  connected_ = true;
  progress_at_ = now;
  Poll(now);
  if (!connected_ || !outbox_.empty()) return;
  HelloMessage hello{.agent_id = options_.agent_id,
                     .agent_version = options_.agent_version,
                     .entry_count = entry_count_,
                     .banks = options_.banks,
                     .list_pcrs = options_.list_pcrs,
                     .big_endian = options_.big_endian,
                     .previous_streams = {streams_.begin(), streams_.end()}};
  outbox_.emplace_back(AgentMessage(std::move(hello)));
}

void Attester::OnDisconnected() {
  connected_ = false;
  outbox_.clear();
  certificate_.reset();
  challenged_ = false;
  armed_.reset();
  phase_ = Phase::kIdle;
  quote_sent_ = false;
  list_requested_ = false;
  position_ = 0;
  unwritten_count_ = 0;
  pending_ = false;
  shown_count_ = 0;
  unseen_since_.reset();
  verdict_.reset();
  if (running_) running_->of_this_stream = false;
}

void Attester::OnCertificate(const crypto::Digest& sha256) {
  certificate_ = sha256;
}

void Attester::OnMessage(absl::Time now, VerifierMessage message) {
  if (!connected_) return;
  progress_at_ = now;
  std::visit([&](auto& one) { Handle(now, std::move(one)); }, message);
}

void Attester::OnWritten(absl::Time now) {
  if (!connected_) return;
  progress_at_ = now;
  if (unwritten_count_ > 0) --unwritten_count_;
}

absl::Status Attester::CheckCertificate(
    const ChallengeMessage& challenge) const {
  if (!certificate_) {
    return absl::PermissionDeniedError(
        "a challenge came, but TLS has shown no certificate of the verifier; "
        "nothing was quoted");
  }
  if (absl::c_equal(challenge.certificate_sha256, certificate_->bytes())) {
    return absl::OkStatus();
  }
  return absl::PermissionDeniedError(absl::StrCat(
      "the challenge was made for a verifier with the certificate sha256:",
      HexEncode(challenge.certificate_sha256),
      ", but TLS showed sha256:", certificate_->Hex(),
      "; nothing was quoted. Something between agent and verifier ends TLS, or "
      "relays the challenges of another verifier: connect to the verifier "
      "itself"));
}

void Attester::Handle(absl::Time now, ChallengeMessage challenge) {
  if (absl::Status status = CheckCertificate(challenge); !status.ok()) {
    return Close(std::move(status));
  }
  if (challenge.nonce.size() != tpm::kNonceSize) {
    return Close(absl::InvalidArgumentError(
        absl::StrCat("the challenge's nonce has ", challenge.nonce.size(),
                     " bytes, expected ", tpm::kNonceSize)));
  }
  if (challenge.selection.IsEmpty()) {
    return Close(
        absl::InvalidArgumentError("the challenge asks for no PCR at all"));
  }
  if (!challenged_) {
    challenged_ = true;
    streams_.push_back(challenge.nonce);
    if (streams_.size() > kMaxPreviousStreams) streams_.pop_front();
  }
  Arm(now, std::move(challenge));
}

void Attester::Arm(absl::Time now, ChallengeMessage challenge) {
  // An operator who wants a quote now gets one, even if the nonce is replaced
  // before the TPM has come to it.
  if (armed_ && armed_->challenge.now) challenge.now = true;
  if (running_ && running_->of_this_stream) {
    ++running_->replaced_count;
    running_->replaced_at = now;
  }
  const absl::Duration within =
      std::max(challenge.answer_within, absl::ZeroDuration());
  armed_ = Armed{std::move(challenge),
                 now + within - AnswerMargin(within, quote_took_)};
}

void Attester::Handle(absl::Time /*now*/, const ListRequestMessage& request) {
  if (!quote_sent_) {
    return Close(absl::FailedPreconditionError(
        "the verifier asked for the list before a quote was sent"));
  }
  list_requested_ = true;
  position_ = request.byte_offset;
  if (phase_ == Phase::kAwaitingRequest || phase_ == Phase::kSending ||
      phase_ == Phase::kAwaitingVerdict) {
    phase_ = Phase::kSending;
  }
}

void Attester::Handle(absl::Time now, VerdictMessage verdict) {
  if (!quote_sent_) {
    return Close(absl::FailedPreconditionError(
        "the verifier sent a verdict before a quote was sent"));
  }
  position_ = verdict.next_byte_offset;
  pending_ = verdict.pending_count > 0;
  if (phase_ != Phase::kQuoting) {
    phase_ = Phase::kIdle;
    // The quote has used up every challenge that was open when it arrived; the
    // next one follows the verdict.
    armed_.reset();
  }
  verdict_ = std::move(verdict);
  Poll(now);
}

void Attester::Handle(absl::Time /*now*/, const RefusalMessage& refusal) {
  OnDisconnected();
  outbox_.emplace_back(CloseStream{
      .why = absl::UnavailableError(absl::StrCat(
          "the verifier refused: ", EscapeForDisplay(refusal.reason))),
      .retry_after = std::max(refusal.retry_after, absl::ZeroDuration()),
      .refused = true});
}

void Attester::Close(absl::Status why) {
  OnDisconnected();
  outbox_.emplace_back(CloseStream{.why = std::move(why), .retry_after = {}});
}

void Attester::Poll(absl::Time now) {
  if (!connected_) return;
  const absl::StatusOr<uint64_t> count = list_.EntryCount();
  if (!count.ok()) {
    return Close(WithContext(count.status(), "counting the list's entries"));
  }
  if (*count != entry_count_) {
    entry_count_ = *count;
    grown_at_ = now;
  }
  // A list that shrank is the verifier's to judge, so that it must see it too.
  if (entry_count_ == shown_count_) {
    unseen_since_.reset();
  } else if (!unseen_since_) {
    unseen_since_ = now;
  }
}

absl::Time Attester::QuoteAt() const {
  if (!connected_ || !armed_ || phase_ != Phase::kIdle || running_) {
    return absl::InfiniteFuture();
  }
  const ChallengeMessage& challenge = armed_->challenge;
  absl::Time at = challenge.now ? absl::InfinitePast() : armed_->due;
  const absl::Time of_own_accord = last_quote_ + challenge.least_interval;
  if (pending_) {
    // Where no interval is asked for, the time for the list to settle is one:
    // entries may be pending for a reason that a quote does not remove.
    at = std::min(at, std::max(of_own_accord, last_quote_ + options_.settle));
  }
  if (unseen_since_) {
    const absl::Time settled = std::min(grown_at_ + options_.settle,
                                        *unseen_since_ + options_.settle_limit);
    at = std::min(at, std::max(of_own_accord, settled));
  }
  return std::max({at, last_quote_ + options_.least_interval, retry_at_});
}

bool Attester::VerifierOwes() const {
  if (!connected_ || phase_ == Phase::kQuoting) return false;
  return phase_ != Phase::kIdle || !armed_;
}

absl::Time Attester::WakeAt() const {
  absl::Time at = QuoteAt();
  if (VerifierOwes()) {
    at = std::min(at, progress_at_ + options_.verifier_timeout);
  }
  return at;
}

std::optional<Action> Attester::Next(absl::Time now) {
  if (outbox_.empty() && now >= QuoteAt()) StartQuote(now);
  if (outbox_.empty() && phase_ == Phase::kSending &&
      unwritten_count_ < options_.max_unwritten_count) {
    SendChunk();
  }
  if (outbox_.empty() && VerifierOwes() &&
      now >= progress_at_ + options_.verifier_timeout) {
    Close(absl::DeadlineExceededError(
        absl::StrCat("nothing has come from the verifier for ",
                     absl::FormatDuration(now - progress_at_))));
  }
  if (outbox_.empty()) return std::nullopt;
  Action action = std::move(outbox_.front());
  outbox_.pop_front();
  if (std::holds_alternative<AgentMessage>(action)) ++unwritten_count_;
  return action;
}

void Attester::StartQuote(absl::Time now) {
  // Counted before the quote, so that what it may not cover stays unseen.
  Poll(now);
  if (!connected_ || !armed_) return;
  const absl::StatusOr<crypto::Digest> data = tpm::QuoteQualifyingData(
      armed_->challenge.nonce, options_.agent_id, *certificate_);
  if (!data.ok()) return Close(data.status());
  running_ = Running{.id = next_job_++,
                     .challenge = std::move(armed_->challenge),
                     .entry_count = entry_count_,
                     .begun = now};
  armed_.reset();
  last_quote_ = now;
  phase_ = Phase::kQuoting;
  outbox_.emplace_back(QuoteJob{.id = running_->id,
                                .qualifying_data = ToVector(data->bytes()),
                                .selection = running_->challenge.selection});
}

void Attester::OnQuoted(absl::Time now, uint64_t id,
                        absl::StatusOr<QuoteResult> result) {
  if (!running_ || running_->id != id) return;
  Running job = *std::move(running_);
  running_.reset();
  quote_took_ = now - job.begun;
  if (result.ok()) {
    quote_retry_ = {};
  } else {
    quote_retry_ = std::clamp(
        2 * quote_retry_, options_.least_quote_retry,
        std::max(options_.least_quote_retry, options_.most_quote_retry));
    retry_at_ = now + quote_retry_;
  }
  if (!connected_ || !job.of_this_stream) return;
  phase_ = Phase::kIdle;
  progress_at_ = now;

  // A challenge that came meanwhile has replaced the quote's, which the
  // verifier takes for a little longer; the quote would use up both.
  const bool replaced = armed_.has_value();
  const bool counts =
      !replaced ||
      (job.replaced_count == 1 && now - job.replaced_at <= kPreviousNonceLife);
  if (!result.ok() || !counts) {
    if (!replaced) armed_ = Armed{std::move(job.challenge), now};
    // What it was to show is still to be shown.
    armed_->challenge.now = true;
    return;
  }
  if (SizeOf(*result) > kMaxQuoteSize) {
    return Close(absl::InternalError(absl::StrCat(
        "the quote has ", SizeOf(*result), " bytes, limit ", kMaxQuoteSize)));
  }
  pending_ = false;
  quote_sent_ = true;
  shown_count_ = job.entry_count;
  unseen_since_.reset();
  Poll(now);
  if (!connected_) return;
  phase_ = list_requested_ ? Phase::kSending : Phase::kAwaitingRequest;
  outbox_.emplace_back(AgentMessage(QuoteMessage{
      .attest = std::move(result->attest),
      .signature = std::move(result->signature),
      .pcrs = std::move(result->pcrs),
      .nonce = std::move(job.challenge.nonce),
      .list_follows = list_requested_ && options_.max_unwritten_count > 1}));
}

void Attester::SendChunk() {
  absl::StatusOr<std::vector<uint8_t>> data =
      list_.ReadFrom(position_, options_.chunk_size);
  if (!data.ok()) {
    return Close(WithContext(data.status(), "reading the list"));
  }
  const bool last = data->size() < options_.chunk_size;
  position_ += data->size();
  if (last) phase_ = Phase::kAwaitingVerdict;
  outbox_.emplace_back(
      AgentMessage(ChunkMessage{.data = *std::move(data), .last = last}));
}

}  // namespace cupel::agent
