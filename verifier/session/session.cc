#include "verifier/session/session.h"

#include <openssl/rand.h>

#include <algorithm>
#include <limits>
#include <set>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/crypto/digest.h"
#include "common/policy/boot_rule.h"
#include "common/tpm/attest.h"
#include "common/tpm/binding.h"
#include "common/tpm/boot_counters.h"
#include "common/tpm/public_area.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "verifier/session/boot_setting.h"
#include "verifier/store/merged_findings.h"

namespace cupel::verifier {
namespace {

using ::cupel::appraisal::Appraisal;
using ::cupel::appraisal::Finding;
using ::cupel::appraisal::Severity;
using ::cupel::appraisal::Verdict;

// For how long an answer to a challenge may be on its way after that was
// replaced (docs/protocol.md, 2).
constexpr absl::Duration kReplacedFor = absl::Seconds(2);
constexpr absl::Duration kWriteAgainAfter = absl::Seconds(1);
// A TPM's clock may be off by a third (docs/protocol.md, 2), and this process,
// whose clocks the TPM's is compared with, may have been stopped for a while.
constexpr int kClockTolerance = 3;
constexpr absl::Duration kClockSlack = absl::Minutes(1);
// Of a list, what is taken without asking for room: lists that go on from where
// the last one ended are hardly ever larger.
constexpr uint64_t kFreeListSize = uint64_t{256} << 10;
// Ids of findings that the agent is told.
constexpr size_t kMaxToldFindings = 10;

// The same for an id that nobody knows, one that nobody has added, one that was
// stopped, and one whose TPM made another quote: who has shown nothing learns
// nothing [A35].
constexpr char kNotServed[] =
    "this agent is not attested here: it is not enrolled, was not added yet, "
    "was stopped, or this is not a quote of the TPM that it enrolled with";

// `certificate_sha256` is the hash that the challenge carries.
absl::StatusOr<std::vector<uint8_t>> QualifyingData(
    std::span<const uint8_t> nonce, const AgentId& agent,
    std::span<const uint8_t> certificate_sha256) {
  CUPEL_ASSIGN_OR_RETURN(const crypto::Digest certificate,
                         crypto::Digest::Create(crypto::HashAlgorithm::kSha256,
                                                certificate_sha256));
  CUPEL_ASSIGN_OR_RETURN(const crypto::Digest data,
                         tpm::QuoteQualifyingData(nonce, agent, certificate));
  return ToVector(data.bytes());
}

bool IsOfBoot(const appraisal::Progress& progress, const tpm::ClockInfo& now) {
  return progress.clock_info.has_value() &&
         tpm::CountsOf(*progress.clock_info) == tpm::CountsOf(now);
}

bool IsServed(AgentState state) {
  return state == AgentState::kPending || state == AgentState::kTrusted ||
         state == AgentState::kFailed;
}

PolicyRequest RequestOf(const AgentRecord& record) {
  return {.tenant = record.tenant,
          .names = record.settings.policies,
          .without_excludes = record.settings.without_excludes};
}

std::string ReasonOf(const Appraisal& appraisal) {
  Severity wanted = Severity::kNotice;
  if (appraisal.verdict == Verdict::kFail) wanted = Severity::kFailure;
  if (appraisal.verdict == Verdict::kUndecided) wanted = Severity::kUndecided;
  std::set<absl::string_view> ids;
  const Finding* first = nullptr;
  size_t count = 0;
  for (const Finding& finding : appraisal.findings) {
    if (finding.severity != wanted) continue;
    if (first == nullptr) first = &finding;
    ids.insert(finding.id);
    ++count;
  }
  if (appraisal.verdict == Verdict::kPass) {
    return absl::StrCat("passed", ids.empty() ? "" : ": ",
                        absl::StrJoin(ids, ", "));
  }
  if (first == nullptr) return "no reason was given";
  std::string reason(first->id);
  if (!first->path.empty()) {
    absl::StrAppend(&reason, " ", EscapeForDisplay(first->path));
  } else if (!first->detail.empty()) {
    absl::StrAppend(&reason, ": ", EscapeForDisplay(first->detail));
  }
  count += static_cast<size_t>(appraisal.findings_dropped);
  if (count > 1) absl::StrAppend(&reason, " (and ", count - 1, " more)");
  return reason;
}

}  // namespace

Session::Session(SessionOptions options, const Surroundings& surroundings,
                 std::unique_ptr<SessionTable::Ticket> ticket,
                 std::vector<std::vector<uint8_t>> certificates, absl::Time now)
    : options_(std::move(options)),
      store_(surroundings.store),
      policies_(surroundings.policies),
      output_(surroundings.output),
      ticket_(std::move(ticket)),
      certificates_(std::move(certificates)),
      deadline_(now + options_.hello_timeout) {
  Reschedule();
}

absl::Duration Session::interval() const {
  return record_.has_value()
             ? record_->settings.interval.value_or(options_.interval)
             : options_.interval;
}

absl::Duration Session::JitteredInterval() const {
  uint32_t random = 0;
  // Without a random number the time is the whole interval.
  if (RAND_bytes(reinterpret_cast<unsigned char*>(&random), sizeof(random)) !=
      1) {
    random = 0;
  }
  const double share =
      static_cast<double>(random) / std::numeric_limits<uint32_t>::max();
  return interval() * (1 - options_.jitter * share);
}

// --- Hello.

void Session::OnHello(const HelloMessage& hello, absl::Time now) {
  if (!IsOpen()) return;
  if (phase_ != Phase::kHello) {
    return Refuse("a second Hello", options_.retry_after);
  }
  if (hello.protocol_version != kProtocolVersion) {
    return Refuse(
        absl::StrCat("protocol version ", hello.protocol_version,
                     " is not spoken here: ", kProtocolVersion, " is"),
        options_.retry_after);
  }
  if (const absl::Status named = ticket_->Name(hello.agent_id); !named.ok()) {
    return Refuse(named.message(), options_.retry_soon);
  }
  // Nobody looks whether there is such an agent before there is a quote: its
  // challenge is the same as any [A35].
  named_ = hello.agent_id;
  lineage_.previous = hello.previous_streams;
  hints_ = {.banks = hello.banks, .list_pcrs = hello.list_pcrs};
  byte_order_ = hello.big_endian ? ByteOrder::kBig : ByteOrder::kLittle;
  phase_ = Phase::kUnproven;
  Arm(/*at_once=*/true, now,
      now + std::min(options_.interval, options_.unproven_timeout));
  Reschedule();
}

bool Session::LoadNamed(const Challenge& challenge, absl::Time now) {
  auto record = store_.FindAgent(*named_);
  if (!record.ok() && !absl::IsNotFound(record.status())) {
    RefuseForStore(record.status());
    return false;
  }
  absl::Status served = record.status();
  if (served.ok()) served = CheckServed(*record);
  if (served.ok()) {
    TakeRecord(*std::move(record));
    served = LoadKey();
  }
  // The first challenge knew nothing of a shorter interval than the verifier's.
  if (served.ok() && now > challenge.armed_at + interval()) {
    served = absl::DeadlineExceededError("the quote came too late");
  }
  if (!served.ok()) RefuseUnproven(served.message());
  return served.ok();
}

absl::Status Session::CheckServed(const AgentRecord& record) const {
  if (record.tenant.empty() || !record.enrollment.has_value() ||
      !IsServed(record.state)) {
    return absl::FailedPreconditionError(kNotServed);
  }
  return absl::OkStatus();
}

void Session::TakeRecord(AgentRecord record) {
  record_ = std::move(record);
  const AgentSettings& settings = record_->settings;
  appraisal::Reference reference;
  // What was loaded for the present epoch stays.
  if (policy_epoch_ == record_->policy_epoch) {
    reference.policy = std::move(reference_.policy);
    reference.tolerated_violations = std::move(reference_.tolerated_violations);
  }
  reference_ = std::move(reference);
  reference_.lab = settings.lab;
  reference_.allow_sha1_bank = settings.allow_sha1_bank;
  reference_.tolerate_violations = settings.tolerate_violations;
  for (const std::string& name : settings.padded_sha1_banks) {
    // A bank that nobody knows is none that could be replayed.
    if (const auto bank = crypto::HashAlgorithmFromName(name)) {
      reference_.padded_sha1_banks.push_back(*bank);
    }
  }
  for (const uint32_t pcr : settings.list_pcrs) {
    if (pcr < ima::kPcrCount) reference_.list_pcrs.set(pcr);
  }
  reference_.ima_policies = settings.ima_policies;
  wanted_bank_ = crypto::HashAlgorithmFromName(settings.bank);
  auto rule = BootRuleOf(settings.boot, record_->pinned_boot_composite);
  boot_problem_ = rule.ok() ? "" : std::string(rule.status().message());
  reference_.boot_rule = rule.ok() ? *std::move(rule) : policy::AnyBoot{};
}

absl::Status Session::LoadKey() {
  const Enrollment& enrollment = *record_->enrollment;
  if (enrollment.ek_name.empty()) {
    return absl::FailedPreconditionError(
        "the enrolment has no Name of an EK: enrol again");
  }
  CUPEL_ASSIGN_OR_RETURN(const tpm::PublicArea area,
                         tpm::ParsePublicArea(enrollment.ak_public));
  CUPEL_ASSIGN_OR_RETURN(tpm::AttestationKey key,
                         tpm::AttestationKey::FromPublicArea(area));
  ak_ = std::make_shared<const tpm::AttestationKey>(std::move(key));
  return absl::OkStatus();
}

bool Session::HasPolicy() const {
  return reference_.policy != nullptr && policy_epoch_ == record_->policy_epoch;
}

absl::Status Session::FindPolicy() {
  reference_.policy = nullptr;
  CUPEL_ASSIGN_OR_RETURN(
      reference_.tolerated_violations,
      policies_.ViolationPatterns(record_->settings.tolerated_violations));
  CUPEL_ASSIGN_OR_RETURN(auto policy, policies_.Find(RequestOf(*record_)));
  if (policy != nullptr) TakePolicy(std::move(policy));
  return absl::OkStatus();
}

void Session::TakePolicy(LoadedPolicy::value_type policy) {
  reference_.policy = std::move(policy);
  policy_epoch_ = record_->policy_epoch;
  judged_policies_.clear();
  const auto& assignments = reference_.policy->assignments();
  for (size_t i = 0; i < assignments.size(); ++i) {
    judged_policies_.push_back(
        {.name = record_->settings.policies[i],
         .content_id = assignments[i].policy->content_id});
  }
}

void Session::RefuseForPolicy(const absl::Status& status) {
  phase_ = Phase::kIdle;
  if (absl::IsUnavailable(status)) return RefuseForStore(status);
  RecordReason(status.message());
  Refuse(status.message(), options_.retry_after);
}

// --- Challenges.

tpm::PcrSelection Session::Selection() const {
  if (record_.has_value() && !LackedBankNow().has_value()) {
    return SelectPcrs(reference_, record_->progress, hints_, needs_,
                      wanted_bank_);
  }
  // By Hello alone. Which bank it takes to trust the machine is asked later.
  appraisal::Reference any;
  any.allow_sha1_bank = true;
  return SelectPcrs(any, {}, hints_, {});
}

std::optional<crypto::HashAlgorithm> Session::LackedBankNow() const {
  if (!quote_clock_.has_value()) return std::nullopt;
  return LackedBank(
      SelectPcrs(reference_, record_->progress, hints_, needs_, wanted_bank_),
      record_->progress, IsOfBoot(record_->progress, *quote_clock_), hints_);
}

void Session::Arm(bool at_once, absl::Time now, absl::Time answer_by) {
  arm_at_.reset();
  Challenge challenge;
  challenge.nonce.resize(tpm::kNonceSize);
  if (RAND_bytes(challenge.nonce.data(), static_cast<int>(tpm::kNonceSize)) !=
      1) {
    return Refuse("the verifier has no random numbers", options_.retry_after);
  }
  challenge.selection = Selection();
  challenge.armed_at = now;
  challenge.store_armed_at = store_.Now();
  challenge.answer_by = answer_by;
  challenge.now = at_once;
  ChallengeMessage message;
  message.nonce = challenge.nonce;
  message.certificate_sha256 = certificates_.front();
  message.selection = challenge.selection;
  message.answer_within = answer_by - now;
  message.now = at_once;
  message.least_interval = options_.least_interval;
  if (lineage_.stream.empty()) lineage_.stream = message.nonce;
  armed_ = std::move(challenge);
  output_.SendChallenge(message);
}

void Session::ArmNext(absl::Time now) {
  const bool has_failed = record_->state == AgentState::kFailed;
  const absl::Time at =
      last_quote_ +
      (has_failed ? std::max(options_.failed_interval, options_.least_interval)
                  : options_.least_interval);
  // Who is asked at once is asked no sooner, nor is an agent that has failed;
  // everybody else keeps to the interval that the challenge tells, or is held
  // to it (takes_quotes_from).
  if ((want_now_ || has_failed) && at > now) {
    arm_at_ = at;
    return;
  }
  const bool at_once = std::exchange(want_now_, false);
  Arm(at_once, now, now + JitteredInterval());
}

absl::Time Session::takes_quotes_from() const {
  return last_quote_taken_ + options_.least_interval;
}

bool Session::is_quick() const {
  return proven_ && (phase_ == Phase::kIdle || phase_ == Phase::kCollecting) &&
         HasPolicy();
}

void Session::ReplaceChallenge(bool at_once, absl::Time now,
                               absl::Time answer_by) {
  replaced_ = std::exchange(armed_, std::nullopt);
  if (replaced_.has_value()) {
    replaced_until_ = std::min(replaced_->answer_by, now + kReplacedFor);
  }
  Arm(at_once, now, answer_by);
}

absl::StatusOr<Session::Challenge> Session::TakeChallenge(
    const std::vector<uint8_t>& nonce, absl::Time now) {
  const bool answers_replaced = replaced_.has_value() &&
                                replaced_->nonce == nonce &&
                                now <= replaced_until_;
  const bool answers_armed = armed_.has_value() && armed_->nonce == nonce;
  if (!answers_replaced && !answers_armed) {
    return absl::InvalidArgumentError("the quote answers no open challenge");
  }
  // Whoever asked for a quote at once still waits for one that began after.
  if (answers_replaced && armed_.has_value() && armed_->now) want_now_ = true;
  Challenge challenge =
      answers_armed ? *std::move(armed_) : *std::move(replaced_);
  armed_.reset();
  replaced_.reset();
  if (now > challenge.answer_by) {
    return absl::DeadlineExceededError("the quote came too late");
  }
  return challenge;
}

// --- The quote.

void Session::OnQuote(QuoteMessage quote, absl::Time now) {
  if (!IsOpen()) return;
  if (phase_ != Phase::kUnproven && phase_ != Phase::kIdle) {
    return Refuse("a quote at a time when none is due", options_.retry_after);
  }
  if (quote.size() > kMaxQuoteSize) {
    return Refuse(absl::StrCat("a quote of ", quote.size(), " bytes, limit ",
                               kMaxQuoteSize),
                  options_.retry_after);
  }
  const absl::Time arrived = std::min(quote.arrived.value_or(now), now);
  const absl::StatusOr<Challenge> challenge =
      TakeChallenge(quote.nonce, arrived);
  if (!challenge.ok()) {
    return Refuse(challenge.status().message(), options_.retry_soon);
  }
  if (!proven_) {
    // Before anything is looked up for it.
    if (!AnsweredCertificate(quote, *challenge, *named_).has_value()) {
      return RefuseUnproven("quote.nonce: the quote answers another challenge");
    }
    if (!LoadNamed(*challenge, arrived)) return;
  }
  std::vector<uint8_t> qualifying_data;
  auto verified = Verify(quote, *challenge, qualifying_data);
  if (!verified.ok()) {
    return proven_ ? Refuse(verified.status().message(), options_.retry_after)
                   : RefuseUnproven(verified.status().message());
  }
  last_quote_ = arrived;
  last_quote_taken_ = now;
  if (!proven_ && !Prove(now)) return;
  Judge({.verified = *std::move(verified),
         .qualifying_data = std::move(qualifying_data),
         .challenge = *challenge},
        now);
  Reschedule();
}

void Session::Judge(ProvenQuote quote, absl::Time now) {
  if (!HasPolicy()) {
    if (const absl::Status found = FindPolicy(); !found.ok()) {
      return RefuseForPolicy(found);
    }
  }
  if (HasPolicy()) return BeginList(std::move(quote), now);
  phase_ = Phase::kLoading;
  waiting_ = std::move(quote);
  loading_epoch_ = record_->policy_epoch;
  output_.PostPolicyLoad(RequestOf(*record_));
}

void Session::OnPolicyLoaded(LoadedPolicy loaded, absl::Time now) {
  if (phase_ != Phase::kLoading) return;
  ProvenQuote quote = *std::exchange(waiting_, std::nullopt);
  // What was loaded for other settings may be none of the agent's by now.
  if (loading_epoch_ == record_->policy_epoch) {
    if (!loaded.ok()) return RefuseForPolicy(loaded.status());
  }
  // Finds what was loaded, which is kept for as long as somebody holds it, and
  // with it whatever else is judged by.
  Judge(std::move(quote), now);
  Reschedule();
}

// Certificates change under a connection, so there are several right answers.
std::optional<std::vector<uint8_t>> Session::AnsweredCertificate(
    const QuoteMessage& quote, const Challenge& challenge,
    const AgentId& agent) const {
  const auto attest = tpm::ParseRawAttest(quote.attest);
  if (!attest.ok()) return std::nullopt;
  for (const std::vector<uint8_t>& certificate : certificates_) {
    const auto data = QualifyingData(challenge.nonce, agent, certificate);
    if (data.ok() && *data == attest->header.extra_data) return certificate;
  }
  return std::nullopt;
}

absl::StatusOr<tpm::VerifiedQuote> Session::Verify(
    const QuoteMessage& quote, const Challenge& challenge,
    std::vector<uint8_t>& qualifying_data) const {
  // One that answers none of them is compared with the one that was sent.
  CUPEL_ASSIGN_OR_RETURN(
      qualifying_data,
      QualifyingData(challenge.nonce, record_->id,
                     AnsweredCertificate(quote, challenge, record_->id)
                         .value_or(certificates_.front())));
  tpm::QuoteExpectation expectation;
  expectation.qualifying_data = qualifying_data;
  expectation.selection = &challenge.selection;
  expectation.values = &quote.pcrs;
  expectation.ek_name = record_->enrollment->ek_name;
  CUPEL_ASSIGN_OR_RETURN(
      tpm::QuoteOutcome outcome,
      tpm::VerifyQuote(*ak_, quote.attest, quote.signature, expectation));
  if (const auto* rejected = std::get_if<tpm::RejectedQuote>(&outcome)) {
    const tpm::FailedCheck& failed = rejected->failures.front();
    return absl::PermissionDeniedError(
        absl::StrCat(tpm::QuoteCheckId(failed.check), ": ",
                     EscapeForDisplay(failed.detail)));
  }
  tpm::VerifiedQuote& verified = std::get<tpm::VerifiedQuote>(outcome);
  if (!verified.unchecked().empty()) {
    return absl::PermissionDeniedError(
        absl::StrCat(tpm::QuoteCheckId(verified.unchecked().front()),
                     ": could not be checked"));
  }
  return std::move(verified);
}

bool Session::Prove(absl::Time now) {
  ticket_->NoteLive();
  auto record = store_.ClaimAgent(record_->id, options_.owner);
  if (!record.ok()) {
    if (absl::IsNotFound(record.status())) {
      Refuse(kNotServed, options_.retry_after);
    } else {
      RefuseForStore(record.status());
    }
    return false;
  }
  // The record may be another one than that which the quote was checked by.
  if (!CheckServed(*record).ok() ||
      record->enrollment->ak_public != record_->enrollment->ak_public ||
      record->enrollment->ek_name != record_->enrollment->ek_name) {
    Refuse("the agent was changed meanwhile", options_.retry_soon);
    return false;
  }
  TakeRecord(*std::move(record));
  proven_ = true;
  const SessionTable::Proof proof =
      ticket_->Prove(AsText(ak_->name()), std::exchange(lineage_, {}), now);
  return !proof.clone_suspected || RecordCloneSuspicion();
}

bool Session::RecordCloneSuspicion() {
  Finding finding = appraisal::MakeFinding(
      "tpm.clone_suspected", Severity::kFailure,
      "streams with this attestation key displace one another again and "
      "again: two machines use one TPM's state");
  VerdictWrite write = UnchangedWrite(finding.id);
  write.findings = MergeFindings({finding}, record_->findings);
  if (record_->state != AgentState::kFailed) write.state = AgentState::kFailed;
  absl::Status written = WriteVerdict(write);
  if (absl::IsAborted(written)) RecordLateFailure(write).IgnoreError();
  if (!written.ok()) {
    // It will be seen again: nothing is trusted meanwhile.
    RefuseForStore(written);
    return false;
  }
  return true;
}

bool Session::MayResume(const tpm::ClockInfo& clock_info,
                        const tpm::PcrSelection& selection) const {
  const appraisal::Progress& progress = record_->progress;
  if (whole_list_next_ || progress.key.empty() ||
      !progress.replayer.has_value() || !progress.clock_info.has_value()) {
    return false;
  }
  const tpm::CounterComparison counters =
      tpm::CompareCounters(*progress.clock_info, clock_info);
  return counters.relation == tpm::BootRelation::kSameBoot &&
         progress.key ==
             appraisal::ProgressKey(ak_->name(), reference_,
                                    ReplayBanks(selection, reference_));
}

// Each boot is an event, whatever the agent's state; and what was trusted was
// another one: this one has to show its list first. False if the stream had to
// be ended.
bool Session::RecordNewBoot(const tpm::ClockInfo& now) {
  const auto boots_since = [&](const std::optional<tpm::ClockInfo>& before) {
    std::optional<uint32_t> resets;
    if (!before.has_value()) return resets;
    const tpm::CounterComparison counters = tpm::CompareCounters(*before, now);
    if (counters.relation == tpm::BootRelation::kNewBoot) {
      resets = counters.resets;
    }
    return resets;
  };
  const std::optional<uint32_t> passed =
      boots_since(record_->progress.clock_info);
  const std::optional<uint32_t> resets = record_->clock_info.has_value()
                                             ? boots_since(record_->clock_info)
                                             : passed;
  const bool was_trusted =
      record_->state == AgentState::kTrusted && passed.has_value();
  if (!resets.has_value() && !was_trusted) return true;
  const uint32_t count = resets.value_or(passed.value_or(0));
  std::string text = "a new boot, not judged yet; continuity.gap: ";
  if (count == 0) {
    absl::StrAppend(&text, "the TPM's reset count went back");
  } else {
    absl::StrAppend(&text, "the TPM was reset ", count,
                    count == 1 ? " time" : " times", " since the last quote");
  }
  if (record_->last_attested.has_value()) {
    absl::StrAppend(
        &text, ", of ",
        absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", *record_->last_attested,
                         absl::UTCTimeZone()));
  }
  VerdictWrite write = UnchangedWrite(text);
  write.clock_info = now;
  write.is_event = true;
  if (was_trusted) write.state = AgentState::kPending;
  if (const absl::Status written = WriteVerdict(write); !written.ok()) {
    RefuseForStore(written);
    return false;
  }
  return true;
}

// The anchor was made after its challenge: what has passed between the two is
// no more than the time since then, by whichever of two clocks says more.
bool Session::IsClockAhead(const tpm::ClockInfo& clock_info,
                           const Challenge& challenge, absl::Time now) {
  if (!clock_anchor_.has_value() ||
      tpm::CompareCounters(clock_anchor_->clock_info, clock_info).relation !=
          tpm::BootRelation::kSameBoot) {
    clock_anchor_ = {.clock_info = clock_info,
                     .armed_at = challenge.armed_at,
                     .store_armed_at = challenge.store_armed_at};
    return false;
  }
  // A clock that goes back is a finding of its own.
  if (clock_info.clock < clock_anchor_->clock_info.clock) return false;
  const absl::Duration passed =
      std::max(now - clock_anchor_->armed_at,
               store_.Now() - clock_anchor_->store_armed_at);
  constexpr uint64_t kMost = uint64_t{1} << 62;
  const auto shown = absl::Milliseconds(static_cast<int64_t>(
      std::min(clock_info.clock - clock_anchor_->clock_info.clock, kMost)));
  return shown > passed + passed / kClockTolerance + kClockSlack;
}

void Session::BeginList(ProvenQuote quote, absl::Time now) {
  tpm::VerifiedQuote& verified = quote.verified;
  const Challenge& challenge = quote.challenge;
  const std::optional<tpm::ClockInfo> judged_clock_info = record_->clock_info;
  if (!RecordNewBoot(verified.attest().clock_info)) return;
  quote_clock_ = verified.attest().clock_info;
  if (const auto lacked = LackedBankNow(); lacked.has_value()) {
    verdict_findings_.clear();
    // What was shown before was of another quote, or of another boot.
    evidence_clock_ = quote_clock_;
    boot_composite_.clear();
    verdict_reason_ =
        LackedBankReason(*lacked, hints_, wanted_bank_.has_value());
    RecordReason(verdict_reason_);
    // A list that is on its way already would be taken for nothing.
    if (list_requested_) return Refuse(verdict_reason_, options_.retry_soon);
    return FinishRound(/*pending_count=*/0, now);
  }
  const ListRequestMessage wanted =
      MayResume(verified.attest().clock_info, verified.selection())
          ? ListRequestMessage{record_->progress.entry_count,
                               record_->progress.byte_offset}
          : ListRequestMessage{};
  // Settings may have changed since the challenge: PCRs that were not asked for
  // are no fault of the agent's.
  discard_ = challenge.selection != Selection();
  if (discard_ && !list_requested_) {
    // As that of Hello's challenge often is. Nothing is judged yet, and there
    // is no list that would have to be waited for.
    want_now_ = true;
    return FinishRound(/*pending_count=*/0, now);
  }
  if (!list_requested_) {
    list_requested_ = true;
    told_ = wanted;
    output_.SendListRequest(told_);
  } else if (told_.first_entry != 0 &&
             told_.first_entry != wanted.first_entry) {
    // The agent sends from where it was told, at once. What can't be judged
    // from there (another boot, another policy) is waited for and asked anew.
    discard_ = true;
  }
  phase_ = Phase::kCollecting;
  list_size_ = 0;
  list_deadline_ = now + options_.list_timeout;
  chunk_deadline_ = now + options_.chunk_timeout;

  job_ = AppraisalJob{};
  job_.id = ++last_job_id_;
  job_.list_memory =
      std::make_shared<ByteBudget::Reservation>(options_.list_memory);
  job_.first_entry = told_.first_entry;
  job_.byte_order = byte_order_;
  job_.ak = ak_;
  job_.qualifying_data = std::move(quote.qualifying_data);
  job_.selection = challenge.selection;
  job_.ek_name = record_->enrollment->ek_name;
  job_.reference = reference_;
  job_.boot_problem = boot_problem_;
  job_.progress = record_->progress;
  job_.clock_info = verified.attest().clock_info;
  job_.judged_clock_info = judged_clock_info;
  // A machine that boots does not keep its connections [A27].
  job_.reset_in_stream =
      stream_clock_.has_value() &&
      stream_clock_->reset_count != job_.clock_info.reset_count;
  job_.clock_ahead = IsClockAhead(job_.clock_info, challenge, now);
  // This quote was made after its challenge.
  job_.judged_entry_count = record_->counts.entries;
  job_.tail_overdue =
      IsOfBoot(record_->progress, job_.clock_info) &&
      record_->progress.pending_since.has_value() &&
      challenge.store_armed_at - *record_->progress.pending_since >
          interval() + options_.grace;
  job_.gap_fails = record_->settings.on_gap == "failure";
  job_.accepted = record_->accepted;
  evidence_policy_epoch_ = record_->policy_epoch;
  evidence_clock_ = job_.clock_info;
  const auto composite = policy::ComputeBootComposite(
      challenge.selection.banks().front().bank,
      [&](crypto::HashAlgorithm bank,
          uint32_t pcr) -> std::optional<crypto::Digest> {
        const crypto::Digest* value = verified.values().Find(bank, pcr);
        return value == nullptr ? std::nullopt : std::optional(*value);
      });
  boot_composite_ = composite.has_value() ? composite->Hex() : "";
  job_.verified = std::move(verified);
}

// --- The list.

void Session::OnChunk(ChunkMessage chunk, absl::Time now) {
  if (!IsOpen()) return;
  if (phase_ != Phase::kCollecting) {
    return Refuse("a piece of a list at a time when none is due",
                  options_.retry_after);
  }
  if (chunk.data.size() > kMaxChunkSize) {
    return Refuse(absl::StrCat("a piece of ", chunk.data.size(),
                               " bytes, limit ", kMaxChunkSize),
                  options_.retry_after);
  }
  if (chunk.data.empty() && !chunk.last) {
    return Refuse("an empty piece of a list", options_.retry_after);
  }
  const absl::Time arrived = std::min(chunk.arrived.value_or(now), now);
  if (arrived > list_deadline_ || arrived > chunk_deadline_) {
    return Refuse("the list took too long", options_.retry_after);
  }
  if (chunk.data.size() > options_.max_list_size - list_size_) {
    return Refuse(
        absl::StrCat("a list of more than ", options_.max_list_size, " bytes"),
        options_.retry_after);
  }
  const uint64_t size = list_size_ + chunk.data.size();
  if (!discard_ && size > kFreeListSize &&
      !job_.list_memory->GrowTo(size - kFreeListSize)) {
    return Refuse("the verifier has no room for so large a list now",
                  options_.retry_soon);
  }
  chunk_deadline_ = now + options_.chunk_timeout;
  list_size_ += chunk.data.size();
  if (!discard_) Append(job_.list, chunk.data);
  if (chunk.last && discard_) {
    job_ = AppraisalJob{};
    whole_list_next_ = true;
    want_now_ = true;
    verdict_findings_.clear();
    FinishRound(/*pending_count=*/0, now);
  } else if (chunk.last) {
    phase_ = Phase::kAppraising;
    stream_clock_ = job_.clock_info;
    output_.PostAppraisal(std::move(job_));
    job_ = AppraisalJob{};
  }
  Reschedule();
}

// --- The verdict.

// Since when what stands behind the prefix stands there: the kernel lists an
// entry a moment before it extends it, and no longer. By the store's clock, as
// it outlives streams.
std::optional<absl::Time> Session::PendingSince(const Appraisal& appraisal,
                                                absl::Time now) const {
  if (appraisal.counts.pending == 0) return std::nullopt;
  const appraisal::Progress& before = record_->progress;
  if (before.pending_since.has_value() && evidence_clock_.has_value() &&
      IsOfBoot(before, *evidence_clock_) &&
      record_->counts.entries == appraisal.counts.entries) {
    return before.pending_since;
  }
  return store_.Now() - (now - last_quote_);
}

void Session::OnAppraised(AppraisalOutcome outcome, absl::Time now) {
  if (phase_ != Phase::kAppraising || outcome.job_id != last_job_id_) return;
  verdict_findings_.clear();
  if (!outcome.appraisal.ok()) {
    // Could not decide: no evidence, for nothing and against nobody [A17].
    RecordReason(outcome.appraisal.status().message());
    whole_list_next_ = true;
    FinishRound(/*pending_count=*/0, now);
    return Reschedule();
  }
  const Appraisal& appraisal = *outcome.appraisal;
  pending_count_ = appraisal.counts.pending;
  for (const Finding& finding : FailuresFirst(appraisal.findings)) {
    if (finding.severity == Severity::kNotice ||
        verdict_findings_.size() >= kMaxToldFindings) {
      break;
    }
    verdict_findings_.emplace_back(finding.id);
  }
  const auto has = [&](absl::string_view id) {
    return std::ranges::find(appraisal.findings, id, &Finding::id) !=
           appraisal.findings.end();
  };
  // A piece that makes no sense may not be the piece that was meant.
  whole_list_next_ = has("ima.list_start") || has("ima.list_malformed");
  const bool is_wrong_piece =
      whole_list_next_ && (told_.first_entry != 0 || has("ima.list_start"));
  if (needs_.Learn(appraisal.findings) || is_wrong_piece) want_now_ = true;
  if (appraisal.verdict == Verdict::kUndecided) {
    verdict_reason_ = ReasonOf(appraisal);
    RecordReason(verdict_reason_);
    FinishRound(pending_count_, now);
    return Reschedule();
  }
  write_ = WriteFor(appraisal, now);
  write_until_ = now + options_.write_timeout;
  Record();
  Reschedule();
}

VerdictWrite Session::UnchangedWrite(absl::string_view reason) const {
  return {.id = record_->id,
          .owner_epoch = record_->owner_epoch,
          .policy_epoch = record_->policy_epoch,
          .state = std::nullopt,
          .reason = std::string(reason),
          .counts = record_->counts,
          .progress = record_->progress};
}

VerdictWrite Session::WriteFor(const Appraisal& appraisal,
                               absl::Time now) const {
  VerdictWrite write = UnchangedWrite(ReasonOf(appraisal));
  write.policy_epoch = evidence_policy_epoch_;
  write.counts = appraisal.counts;
  write.progress = appraisal.progress;
  if (appraisal.verdict == Verdict::kPass) {
    write.progress.pending_since = PendingSince(appraisal, now);
  }
  write.boot_composite = boot_composite_;
  write.decided = true;
  write.clock_info = evidence_clock_;
  // Should others have been loaded since, the epoch refuses all of it.
  write.policies = judged_policies_;
  const bool has_failed = record_->state == AgentState::kFailed;
  if (appraisal.verdict == Verdict::kPass) {
    // A failed agent stays so until an operator says otherwise, and so does
    // what it failed for.
    if (!has_failed) {
      write.state = AgentState::kTrusted;
      // From the quote on: what its list and its appraisal took shows nothing.
      write.valid_until =
          store_.Now() - (now - last_quote_) + interval() + options_.grace;
    }
    return write;
  }
  write.findings = has_failed
                       ? MergeFindings(appraisal.findings, record_->findings)
                       : MergeFindings(appraisal.findings, {});
  if (!has_failed) write.state = AgentState::kFailed;
  return write;
}

absl::Status Session::WriteVerdict(const VerdictWrite& write) {
  CUPEL_ASSIGN_OR_RETURN(AgentRecord record, store_.RecordVerdict(write));
  const AgentState previous = record_->state;
  TakeRecord(std::move(record));
  if (record_->state != previous) {
    output_.OnStateRecorded(previous, record_->state);
  }
  return absl::OkStatus();
}

// For people, where nothing is decided. Whether it gets there changes nothing.
void Session::RecordReason(absl::string_view reason) {
  const bool shows_new_boot =
      !boot_composite_.empty() && record_->boot_composite != boot_composite_;
  if (record_->state != AgentState::kPending ||
      (record_->state_reason == reason && !shows_new_boot)) {
    store_.RecordSeen(record_->id, store_.Now()).IgnoreError();
    return;
  }
  VerdictWrite write = UnchangedWrite(reason);
  write.clock_info = evidence_clock_;
  // Shown to the operator who is to approve it.
  if (shows_new_boot) write.boot_composite = boot_composite_;
  WriteVerdict(write).IgnoreError();
}

void Session::Record() {
  phase_ = Phase::kRecording;
  is_posted_ = true;
  const bool may_change =
      write_->findings.has_value() ||
      write_->state.value_or(record_->state) != record_->state;
  output_.PostVerdict(*write_, /*is_urgent=*/may_change);
}

void Session::OnRecorded(absl::StatusOr<RecordedVerdict> recorded,
                         absl::Time now) {
  if (phase_ != Phase::kRecording || !is_posted_) return;
  is_posted_ = false;
  if (recorded.ok()) {
    TakeRecorded(*std::move(recorded));
    FinishRound(pending_count_, now);
  } else if (absl::IsAborted(recorded.status())) {
    OnFenced(now);
  } else if (absl::IsNotFound(recorded.status()) || now >= write_until_) {
    phase_ = Phase::kIdle;
    RefuseForStore(recorded.status());
  } else {
    // The store is away. A verdict is not forgotten for that: the evidence
    // might not come again.
    write_again_ = now + kWriteAgainAfter;
  }
  Reschedule();
}

void Session::TakeRecorded(RecordedVerdict recorded) {
  const VerdictWrite write = *std::exchange(write_, std::nullopt);
  if (recorded.record.has_value() &&
      recorded.record->state != recorded.previous) {
    output_.OnStateRecorded(recorded.previous, recorded.record->state);
  }
  // Else the record is one that was read since, and says more.
  if (write.owner_epoch != record_->owner_epoch ||
      write.policy_epoch != record_->policy_epoch) {
    return;
  }
  if (recorded.record.has_value()) {
    TakeRecord(*std::move(recorded.record));
  } else {
    ApplyRenewal(write, recorded.time, *record_);
  }
}

// Another stream has the agent, or it is to be judged otherwise by now.
void Session::OnFenced(absl::Time now) {
  auto record = store_.FindAgent(record_->id);
  const bool is_lost =
      record.ok() && record->owner_epoch != record_->owner_epoch;
  absl::Status status = record.status();
  // Whoever has hung up on a bad verdict, has taken its own stream away, or had
  // the settings change in time may not bring its evidence again.
  if (status.ok() && write_->findings.has_value() &&
      (is_lost || !IsOpen() || record->policy_epoch != write_->policy_epoch)) {
    status = RecordLateFailure(*write_);
  }
  if (absl::IsUnavailable(status) && now < write_until_) {
    write_again_ = now + kWriteAgainAfter;
    return;
  }
  phase_ = Phase::kIdle;
  if (!record.ok()) return RefuseForStore(record.status());
  if (is_lost) {
    // Else whoever has lost the agent writes nothing of it [A18].
    return Refuse("another stream of this agent has taken over",
                  options_.retry_soon);
  }
  if (!CheckServed(*record).ok()) {
    return Refuse(kNotServed, options_.retry_after);
  }
  TakeRecord(*std::move(record));
  whole_list_next_ = true;
  want_now_ = true;
  verdict_findings_.clear();
  FinishRound(/*pending_count=*/0, now);
}

absl::Status Session::RecordLateFailure(const VerdictWrite& write) {
  CUPEL_ASSIGN_OR_RETURN(const RecordedVerdict recorded,
                         store_.RecordLateFailure(
                             write, {.owner = options_.owner,
                                     .tenant = record_->tenant,
                                     .ek_name = record_->enrollment->ek_name}));
  if (recorded.record->state != recorded.previous) {
    output_.OnStateRecorded(recorded.previous, recorded.record->state);
  }
  return absl::OkStatus();
}

void Session::FinishRound(uint64_t pending_count, absl::Time now) {
  if (!IsOpen()) {
    phase_ = Phase::kEnded;
    return;
  }
  phase_ = Phase::kIdle;
  const appraisal::Progress& progress = record_->progress;
  told_ = {};
  // As far as can be told before the next quote: what it is judged by may
  // change until then. Without a policy there is nothing to compare with.
  if (HasPolicy() && quote_clock_.has_value() &&
      MayResume(*quote_clock_, Selection())) {
    told_ = {.first_entry = progress.entry_count,
             .byte_offset = progress.byte_offset};
  }
  VerdictMessage message;
  message.state = record_->state;
  message.next_entry = told_.first_entry;
  message.next_byte_offset = told_.byte_offset;
  message.pending_count = pending_count;
  message.findings = verdict_findings_;
  message.reason = std::exchange(verdict_reason_, "");
  output_.SendVerdict(message);
  ArmNext(now);
}

// --- Everything else.

void Session::OnSettingsChanged(absl::Time now) {
  // Who has shown nothing has no settings.
  if (!IsOpen() || !proven_) return;
  auto record = store_.FindAgent(record_->id);
  if (absl::IsUnavailable(record.status())) return;  // Writes are fenced.
  if (!record.ok() || !CheckServed(*record).ok()) {
    return Refuse(kNotServed, options_.retry_after);
  }
  if (record->enrollment->ak_public != record_->enrollment->ak_public ||
      record->enrollment->ek_name != record_->enrollment->ek_name) {
    return Refuse("the agent has enrolled again, with another key",
                  options_.retry_soon);
  }
  if (record->owner_epoch != record_->owner_epoch) {
    return Refuse("another stream of this agent has taken over",
                  options_.retry_soon);
  }
  const bool changed = record->policy_epoch != record_->policy_epoch;
  TakeRecord(*std::move(record));
  if (changed) OnAttestNow(now);
}

void Session::OnAttestNow(absl::Time now) {
  if (!IsOpen() || !proven_) return;  // The first challenge asks at once.
  if (phase_ == Phase::kIdle && armed_.has_value()) {
    if (!armed_->now) {
      ReplaceChallenge(/*at_once=*/true, now, now + interval());
    }
  } else {
    want_now_ = true;
    // It may have waited for longer than it has to by now.
    if (phase_ == Phase::kIdle) ArmNext(now);
  }
  Reschedule();
}

void Session::OnTimer(absl::Time now) {
  switch (phase_) {
    case Phase::kHello:
      if (now > deadline_) Refuse("no Hello", options_.retry_after);
      break;
    case Phase::kUnproven:
    case Phase::kIdle:
      if (arm_at_.has_value() && now >= *arm_at_) {
        ArmNext(now);
      } else if (armed_.has_value() && now > armed_->answer_by) {
        Refuse("no quote in time", options_.retry_soon);
      } else if (phase_ == Phase::kIdle && armed_.has_value() && !armed_->now &&
                 now >= armed_->armed_at + options_.fresh) {
        // Another nonce, not more time [A29].
        ReplaceChallenge(/*at_once=*/false, now, armed_->answer_by);
      }
      break;
    case Phase::kCollecting:
      if (now > list_deadline_ || now > chunk_deadline_) {
        Refuse("the list took too long", options_.retry_after);
      }
      break;
    case Phase::kRecording:
      if (!is_posted_ && now >= write_again_) Record();
      break;
    case Phase::kLoading:
    case Phase::kAppraising:
    case Phase::kEnded:
      break;
  }
  Reschedule();
}

void Session::Reschedule() {
  // The first moment at which a deadline has passed.
  constexpr absl::Duration kAfter = absl::Milliseconds(1);
  absl::Time at = absl::InfiniteFuture();
  switch (phase_) {
    case Phase::kHello:
      at = deadline_ + kAfter;
      break;
    case Phase::kUnproven:
    case Phase::kIdle:
      if (arm_at_.has_value()) at = *arm_at_;
      if (armed_.has_value()) {
        at = std::min(at, armed_->answer_by + kAfter);
        if (phase_ == Phase::kIdle && !armed_->now) {
          at = std::min(at, armed_->armed_at + options_.fresh);
        }
      }
      break;
    case Phase::kCollecting:
      at = std::min(list_deadline_, chunk_deadline_) + kAfter;
      break;
    case Phase::kRecording:
      if (!is_posted_) at = write_again_;
      break;
    case Phase::kLoading:
    case Phase::kAppraising:
    case Phase::kEnded:
      break;
  }
  if (at != absl::InfiniteFuture()) output_.SetTimer(at);
}

void Session::OnCertificate(std::vector<uint8_t> certificate_sha256) {
  // A stream that begins at that moment may have it already.
  if (std::ranges::find(certificates_, certificate_sha256) ==
      certificates_.end()) {
    certificates_.push_back(std::move(certificate_sha256));
  }
}

void Session::OnDisplaced() {
  Refuse("another stream of this agent has taken over", options_.retry_soon);
}

void Session::OnClosed() {
  open_ = false;
  ticket_.reset();
  // What is complete is finished; what is not is nothing.
  if (phase_ != Phase::kAppraising && phase_ != Phase::kRecording) {
    phase_ = Phase::kEnded;
    job_ = AppraisalJob{};
    waiting_.reset();
  }
}

void Session::Refuse(absl::string_view reason, absl::Duration retry_after) {
  if (IsOpen()) {
    output_.SendRefusal({.reason = std::string(reason),
                         .retry_after = retry_after,
                         .proven = proven_});
  }
  OnClosed();
}

void Session::RefuseUnproven(absl::string_view why) {
  if (IsOpen()) {
    output_.SendRefusal({.reason = kNotServed,
                         .retry_after = options_.retry_after,
                         .detail = std::string(why)});
  }
  OnClosed();
}

void Session::RefuseForStore(const absl::Status& status) {
  // Its message may name what is the verifier's own.
  Refuse(absl::IsUnavailable(status)
             ? "the verifier can't reach its store"
             : "the verifier can't find or change the agent's record",
         options_.retry_soon);
}

}  // namespace cupel::verifier
