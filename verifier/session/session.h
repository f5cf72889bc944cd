// One agent's attestation stream as a plain class: messages and a clock in,
// messages and jobs out. No gRPC, no thread, no socket, no timer of its own.
//
//   kHello ─Hello─▶ kUnproven ─Quote─▶ kCollecting ─last chunk─▶ kAppraising
//                                          ▲                          │
//                                        Quote                     outcome
//                                          └──── kIdle ◀─ (kRecording) ┘
//
// A quote whose policy has to be loaded first waits for that in kLoading.
//
// docs/protocol.md, 2 to 6, is what it implements. Two rules run through it:
// until a quote has been verified nothing that the stream says changes anything
// of the agent, and nothing that it is told depends on whether there is such an
// agent [A16, A35]; and after that only an explicit pass makes it TRUSTED. What
// is wrong with a message ends the stream; what is wrong with the evidence is a
// finding.
#ifndef CUPEL_VERIFIER_SESSION_SESSION_H_
#define CUPEL_VERIFIER_SESSION_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/policy/compiled_policy.h"
#include "common/tpm/attestation_key.h"
#include "common/tpm/quote.h"
#include "verifier/session/appraisal_job.h"
#include "verifier/session/byte_budget.h"
#include "verifier/session/messages.h"
#include "verifier/session/policy_cache.h"
#include "verifier/session/quote_selection.h"
#include "verifier/session/session_table.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

struct SessionOptions {
  // Who claims agents: this process, and no other that uses the store.
  std::string owner;
  // A challenge has to be answered within it, unless the agent's settings say
  // otherwise; TRUSTED lasts for it and `grace`.
  absl::Duration interval = absl::Seconds(10);
  absl::Duration grace = absl::Seconds(10);
  // By how much of it, at most, each challenge's time is shortened by chance,
  // so that a fleet's quotes spread.
  double jitter = 0.1;
  // Between a quote and the challenge for the next one: it spares the chip.
  absl::Duration least_interval = absl::Milliseconds(100);
  // The same for an agent that has failed, each of whose rounds may find
  // something else that has to be written [A15].
  absl::Duration failed_interval = absl::Seconds(1);
  // Replaces an armed nonce that old; infinite: never.
  absl::Duration fresh = absl::InfiniteDuration();
  // For Hello, for the next chunk of a list, and for a whole list.
  absl::Duration hello_timeout = absl::Seconds(10);
  // For a stream's first quote, however long the agent's interval is.
  absl::Duration unproven_timeout = absl::Seconds(30);
  absl::Duration chunk_timeout = absl::Seconds(10);
  absl::Duration list_timeout = absl::Minutes(5);
  size_t max_list_size = size_t{512} << 20;
  // What all lists together, but for a small piece of each, are taken from
  // until they are judged; nullptr: there is no bound.
  std::shared_ptr<ByteBudget> list_memory = nullptr;
  // What a refused agent is told: where its own state has to change first, and
  // where the verifier's has.
  absl::Duration retry_after = absl::Seconds(30);
  absl::Duration retry_soon = absl::Seconds(2);
  // How long a verdict that the store does not take is tried again.
  absl::Duration write_timeout = absl::Minutes(1);
};

// Where a session's output goes. None of these may call the session.
class SessionOutput {
 public:
  virtual ~SessionOutput() = default;
  virtual void SendChallenge(const ChallengeMessage& message) = 0;
  virtual void SendListRequest(const ListRequestMessage& message) = 0;
  virtual void SendVerdict(const VerdictMessage& message) = 0;
  // The store has a verdict that changed the agent's state, whether the agent
  // is there to be told or not.
  virtual void OnStateRecorded(AgentState previous, AgentState state) {
    (void)previous;
    (void)state;
  }
  // The stream is to be ended after it.
  virtual void SendRefusal(const RefusalMessage& message) = 0;
  // Has PolicyCache::Get give what was asked for, where that takes no other
  // agent's time, and brings it to OnPolicyLoaded, whatever becomes of the
  // stream. Until then the session is_loading().
  virtual void PostPolicyLoad(PolicyRequest request) = 0;
  // Runs job.Run() somewhere and brings its outcome to OnAppraised, whatever
  // becomes of the stream.
  virtual void PostAppraisal(AppraisalJob job) = 0;
  // Has the store record `write` and brings what came of it to OnRecorded,
  // whatever becomes of the stream. One that is urgent waits for no others to
  // be recorded with it.
  virtual void PostVerdict(VerdictWrite write, bool is_urgent) = 0;
  // Calls OnTimer at or after `at`; replaces what was set before.
  virtual void SetTimer(absl::Time at) = 0;
};

// PolicyCache::Get's result.
using LoadedPolicy =
    absl::StatusOr<std::shared_ptr<const policy::CompiledPolicy>>;

// Not thread-safe: inputs come one at a time, from any thread. They may block
// for as long as the store, PolicyCache::Find and ViolationPatterns take. `now`
// never goes back; it has nothing to do with the store's clock, which
// valid_until is made with.
//
// Keep it until finished(): evidence that is complete is judged and recorded
// even if its stream has ended, or an agent could hang up on its own verdict.
class Session {
 public:
  // All must outlive the session.
  struct Surroundings {
    Store& store;
    PolicyCache& policies;
    SessionOutput& output;
  };

  // `certificates` are the SHA-256 of the DER of each leaf certificate that the
  // stream's connection may show, the likeliest first; at least one.
  Session(SessionOptions options, const Surroundings& surroundings,
          std::unique_ptr<SessionTable::Ticket> ticket,
          std::vector<std::vector<uint8_t>> certificates, absl::Time now);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void OnHello(const HelloMessage& hello, absl::Time now);
  void OnQuote(QuoteMessage quote, absl::Time now);
  void OnPolicyLoaded(LoadedPolicy loaded, absl::Time now);
  void OnChunk(ChunkMessage chunk, absl::Time now);
  void OnAppraised(AppraisalOutcome outcome, absl::Time now);
  // Store::RecordVerdicts' result.
  void OnRecorded(absl::StatusOr<RecordedVerdict> recorded, absl::Time now);
  void OnTimer(absl::Time now);
  // The agent's record may have changed (Store::OnChange).
  void OnSettingsChanged(absl::Time now);
  // Asks for a quote at once. Several become one until it is there.
  void OnAttestNow(absl::Time now);
  // The verifier serves this certificate from now on.
  void OnCertificate(std::vector<uint8_t> certificate_sha256);
  // Another stream of this agent has proven itself.
  void OnDisplaced();
  // The peer is gone.
  void OnClosed();
  // Ends the stream, for a verifier that shuts down.
  void Refuse(absl::string_view reason, absl::Duration retry_after);

  // A quote that comes earlier is to be held back until then, and with it what
  // follows: no agent is judged more often than that.
  absl::Time takes_quotes_from() const;
  // True if the agent's next message will wait neither for the store nor for a
  // policy, but for what is out of the ordinary.
  bool is_quick() const;
  // True while a quote waits for its policy: what the agent has sent behind it
  // is to be held back until that has been brought.
  bool is_loading() const { return phase_ == Phase::kLoading; }
  // True once the stream has ended and nothing is left to be done for it.
  bool finished() const { return phase_ == Phase::kEnded; }
  // True from its first verified quote on.
  bool proven() const { return proven_; }

 private:
  enum class Phase : uint8_t {
    kHello,
    kUnproven,
    kIdle,        // proven; a challenge is armed, or about to be
    kLoading,     // a verified quote is there, its policy is not
    kCollecting,  // a verified quote is there, its list is on its way
    kAppraising,
    kRecording,  // the store has not taken the verdict yet
    kEnded,
  };
  struct Challenge {
    std::vector<uint8_t> nonce;
    tpm::PcrSelection selection;
    absl::Time armed_at;
    absl::Time store_armed_at;  // by the store's clock
    absl::Time answer_by;
    bool now = false;
  };
  // A quote that was verified, and what it answered.
  struct ProvenQuote {
    tpm::VerifiedQuote verified;
    std::vector<uint8_t> qualifying_data;
    Challenge challenge;
  };
  // The first quote of a boot on this stream.
  struct ClockAnchor {
    tpm::ClockInfo clock_info;
    absl::Time armed_at;
    absl::Time store_armed_at;
  };

  absl::Duration interval() const;
  absl::Duration JitteredInterval() const;
  bool IsOpen() const { return open_; }
  // The record's part of what its list is judged by; the policy is not.
  void TakeRecord(AgentRecord record);
  absl::Status CheckServed(const AgentRecord& record) const;
  // What the quote of an unproven stream is verified by: the record and key of
  // the agent that it has named. False if the stream had to be ended.
  bool LoadNamed(const Challenge& challenge, absl::Time now);
  absl::Status LoadKey();
  bool HasPolicy() const;
  // Takes the policy that the record asks for, if it is there.
  absl::Status FindPolicy();
  void TakePolicy(LoadedPolicy::value_type policy);
  // Without its policy nothing can be said of the agent.
  void RefuseForPolicy(const absl::Status& status);

  // What a quote has to cover by now; where the agent's TPM can't, what Hello
  // says that it can.
  tpm::PcrSelection Selection() const;
  std::optional<crypto::HashAlgorithm> LackedBankNow() const;
  void Arm(bool at_once, absl::Time now, absl::Time answer_by);
  void ArmNext(absl::Time now);
  void ReplaceChallenge(bool at_once, absl::Time now, absl::Time answer_by);
  // The challenge that `nonce` answers, which is used up by it.
  absl::StatusOr<Challenge> TakeChallenge(const std::vector<uint8_t>& nonce,
                                          absl::Time now);
  // The certificate, of those that the connection may have shown, that the
  // quote was made for; nullopt if it answers another challenge.
  std::optional<std::vector<uint8_t>> AnsweredCertificate(
      const QuoteMessage& quote, const Challenge& challenge,
      const AgentId& agent) const;
  absl::StatusOr<tpm::VerifiedQuote> Verify(
      const QuoteMessage& quote, const Challenge& challenge,
      std::vector<uint8_t>& qualifying_data) const;
  // Takes the agent over. False if the stream had to be ended.
  bool Prove(absl::Time now);
  bool RecordCloneSuspicion();
  // Once the policy is there for a quote that was verified.
  void Judge(ProvenQuote quote, absl::Time now);
  void BeginList(ProvenQuote quote, absl::Time now);
  bool RecordNewBoot(const tpm::ClockInfo& now);
  // True if a quote of these can be judged with the rest of the list.
  bool MayResume(const tpm::ClockInfo& clock_info,
                 const tpm::PcrSelection& selection) const;
  bool IsClockAhead(const tpm::ClockInfo& clock_info,
                    const Challenge& challenge, absl::Time now);
  std::optional<absl::Time> PendingSince(const appraisal::Appraisal& appraisal,
                                         absl::Time now) const;

  VerdictWrite WriteFor(const appraisal::Appraisal& appraisal,
                        absl::Time now) const;
  // A write that leaves all as it is, for `reason`.
  VerdictWrite UnchangedWrite(absl::string_view reason) const;
  void RecordReason(absl::string_view reason);
  // Store::RecordVerdict, and the record is what it has become.
  absl::Status WriteVerdict(const VerdictWrite& write);
  // Store::RecordLateFailure of a write that was refused.
  absl::Status RecordLateFailure(const VerdictWrite& write);
  void Record();
  void TakeRecorded(RecordedVerdict recorded);
  void OnFenced(absl::Time now);
  void FinishRound(uint64_t pending_count, absl::Time now);
  void RefuseForStore(const absl::Status& status);
  // Ends an unproven stream as every such stream is ended, whatever is wrong
  // with it; `why` is for the log.
  void RefuseUnproven(absl::string_view why);
  void Reschedule();

  const SessionOptions options_;
  Store& store_;
  PolicyCache& policies_;
  SessionOutput& output_;
  std::unique_ptr<SessionTable::Ticket> ticket_;
  std::vector<std::vector<uint8_t>> certificates_;

  Phase phase_ = Phase::kHello;
  bool open_ = true;
  bool proven_ = false;
  absl::Time deadline_;  // of kHello

  // What the agent said, and, once it has shown a quote, what is known of it.
  std::optional<AgentId> named_;
  SelectionHints hints_;
  SessionTable::Lineage lineage_;  // empty once it has proven itself
  SelectionNeeds needs_;
  ByteOrder byte_order_ = ByteOrder::kLittle;
  std::optional<AgentRecord> record_;
  std::shared_ptr<const tpm::AttestationKey> ak_;
  appraisal::Reference reference_;
  std::optional<crypto::HashAlgorithm> wanted_bank_;
  std::string boot_problem_;
  // What reference_.policy was made for, and of.
  std::optional<uint64_t> policy_epoch_;
  std::vector<JudgedPolicy> judged_policies_;

  std::optional<ProvenQuote> waiting_;  // in kLoading
  uint64_t loading_epoch_ = 0;          // what it is loaded for

  std::optional<Challenge> armed_;
  // Replaced, but an answer may be on its way.
  std::optional<Challenge> replaced_;
  absl::Time replaced_until_;
  std::optional<absl::Time> arm_at_;
  bool want_now_ = false;
  absl::Time last_quote_ = absl::InfinitePast();  // when it arrived
  // One that was held back, or had to wait, is taken later than that.
  absl::Time last_quote_taken_ = absl::InfinitePast();

  // Where the agent was told that the list after its next quote starts; it
  // sends none before it was asked once.
  bool list_requested_ = false;
  ListRequestMessage told_;
  bool whole_list_next_ = false;

  // Evidence under way. It is judged, and written, by what was so when its
  // quote arrived, or not at all [A32].
  AppraisalJob job_;
  uint64_t last_job_id_ = 0;
  uint64_t evidence_policy_epoch_ = 0;
  std::optional<tpm::ClockInfo> evidence_clock_;
  std::optional<tpm::ClockInfo> quote_clock_;  // of the last one, judged or not
  std::string boot_composite_;
  size_t list_size_ = 0;
  // Of the last quote on this stream whose list was judged.
  std::optional<tpm::ClockInfo> stream_clock_;
  std::optional<ClockAnchor> clock_anchor_;
  // Since when entries behind this one wait for a quote to cover them.
  bool discard_ = false;  // the list is taken, but not judged
  absl::Time list_deadline_;
  absl::Time chunk_deadline_;

  std::optional<VerdictWrite> write_;
  bool is_posted_ = false;  // and nothing is known of it yet
  std::vector<std::string> verdict_findings_;
  std::string verdict_reason_;  // why nothing is decided
  uint64_t pending_count_ = 0;
  absl::Time write_again_;  // where it is to be tried again
  absl::Time write_until_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_SESSION_SESSION_H_
