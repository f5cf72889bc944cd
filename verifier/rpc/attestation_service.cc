#include "verifier/rpc/attestation_service.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"
#include "common/util/steady_clock.h"
#include "verifier/rpc/attestation_log.h"
#include "verifier/rpc/attestation_messages.h"
#include "verifier/rpc/peer.h"
#include "verifier/rpc/status.h"
#include "verifier/rpc/write_queue.h"

namespace cupel::verifier {
namespace {

// A peer that takes nothing any more is cut off with so many messages waiting,
// or so long after its stream's end.
constexpr size_t kMaxWaitingMessages = 64;
constexpr absl::Duration kEndTimeout = absl::Seconds(5);
// What is judged in less time than another thread needs to wake up.
constexpr size_t kSmallList = size_t{16} << 10;

std::vector<std::vector<uint8_t>> ToBytes(
    const std::vector<crypto::Digest>& digests) {
  std::vector<std::vector<uint8_t>> bytes;
  bytes.reserve(digests.size());
  for (const crypto::Digest& digest : digests) {
    bytes.push_back(ToVector(digest.bytes()));
  }
  return bytes;
}

// The stream whose input this thread is working off: what it changes in the
// store is no news to it.
thread_local const AttestationStream* current_stream = nullptr;

class RefusedStream final
    : public grpc::ServerBidiReactor<v1::AgentMessage, v1::VerifierMessage> {
 public:
  explicit RefusedStream(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

}  // namespace

// One stream: the reactor, and the output of its session. The service owns it
// until both gRPC and the session are done with it: evidence that is complete
// is judged even if its agent has hung up.
//
// Threads: the session and all that is not guarded belongs to the pool's jobs
// of this stream, which come one by one. The scheduler's thread only posts
// them. gRPC's do too, unless what has come is quick (Session): that is worked
// off at once, a small list's appraisal included. So is on the writer's thread
// what follows from a verdict's record, but for what the pool is at. A stream's
// way through a round takes two threads instead of four.
class AttestationStream final
    : public grpc::ServerBidiReactor<v1::AgentMessage, v1::VerifierMessage>,
      public SessionOutput,
      public std::enable_shared_from_this<AttestationStream> {
 public:
  AttestationStream(AttestationService& service,
                    grpc::CallbackServerContext* context, uint64_t number)
      : service_(service),
        context_(context),
        address_(PeerAddress(context->peer())),
        key_(absl::StrCat("stream ", number)) {}

  // Everything about the stream that can fail has been looked at.
  void Begin(std::unique_ptr<SessionTable::Ticket> ticket) {
    ticket_ = std::move(ticket);
    Post([](AttestationStream& self) {
      const AttestationService::Surroundings& around =
          self.service_.surroundings_;
      self.session_ = std::make_unique<Session>(
          self.service_.options_,
          Session::Surroundings{around.store, around.policies, self},
          std::move(self.ticket_),
          ToBytes(around.certificate.Accepted(SteadyNow())), SteadyNow());
      self.Read();
    });
  }

  // Inputs from outside.
  void Displaced() {
    Post([](AttestationStream& self) { self.session_->OnDisplaced(); });
  }
  void SettingsChanged() {
    if (current_stream == this) return;
    if (settings_changed_.exchange(true)) return;  // several become one
    Post([](AttestationStream& self) {
      self.settings_changed_ = false;
      self.session_->OnSettingsChanged(SteadyNow());
    });
  }
  void Certificate(const crypto::Digest& sha256) {
    Post([sha256](AttestationStream& self) {
      self.session_->OnCertificate(ToVector(sha256.bytes()));
    });
  }
  void AttestNow() {
    Post([](AttestationStream& self) {
      self.session_->OnAttestNow(SteadyNow());
    });
  }
  void Refuse(std::string reason, absl::Duration retry_after) {
    Post([reason = std::move(reason), retry_after](AttestationStream& self) {
      self.session_->Refuse(reason, retry_after);
    });
  }
  bool proven() const { return proven_; }

  // grpc::ServerBidiReactor.
  void OnReadDone(bool ok) override {
    if (!ok) return Close();
    arrived_ = SteadyNow();  // nothing else reads or writes it until StartRead
    Job job = ToJob([](AttestationStream& self) { self.TakeAndRead(); });
    WorkerPool& pool = service_.surroundings_.pool;
    if (is_quick_ && IsSmall(message_)) {
      pool.RunOrPost(key_, std::move(job));
    } else {
      pool.Post(key_, std::move(job));
    }
  }
  void OnWriteDone(bool ok) override { writes_.OnWriteDone(ok); }
  void OnCancel() override { Close(); }
  void OnDone() override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      context_ = nullptr;
    }
    done_ = true;
    Post([](AttestationStream& self) { self.session_->OnClosed(); });
  }

  // SessionOutput.
  void SendChallenge(const ChallengeMessage& message) override {
    v1::VerifierMessage challenge = ToProto(message);
    if (joins_ && !outbox_.empty() && outbox_.back().has_verdict()) {
      *outbox_.back().mutable_verdict()->mutable_next() =
          std::move(*challenge.mutable_challenge());
    } else {
      Send(std::move(challenge));
    }
  }
  void SendListRequest(const ListRequestMessage& message) override {
    Send(ToProto(message));
  }
  void SendVerdict(const VerdictMessage& message) override {
    if (evidence_complete_.has_value()) {
      service_.surroundings_.metrics.CountAttestation(SteadyNow() -
                                                      *evidence_complete_);
      evidence_complete_.reset();
    }
    Send(ToProto(message));
  }
  void OnStateRecorded(AgentState previous, AgentState state) override {
    if (agent_.has_value()) LogState(*agent_, previous, state, log());
  }
  void SendRefusal(const RefusalMessage& message) override {
    constexpr char kRefused[] = "stream refused";
    const LogField agent("agent", agent_.has_value() ? agent_->ToString() : "");
    if (message.proven) {
      log().Info(kRefused, {agent, {"reason", message.reason}});
    } else {
      service_.surroundings_.refusals.Write(
          LogLevel::kInfo, kRefused, address_,
          {agent, {"reason", message.reason}, {"detail", message.detail}},
          SteadyNow());
    }
    Send(ToProto(message));
    End(grpc::Status::OK);
  }
  // What waits takes no thread. A tenant has one of them at most.
  void PostPolicyLoad(PolicyRequest request) override {
    const std::string tenant = request.tenant;
    is_loading_ = true;
    service_.surroundings_.policy_pool.Post(
        tenant, [weak = weak_from_this(), request = std::move(request)] {
          // Nobody waits any more: it is not loaded, or who comes and goes
          // would fill the line.
          const auto self = weak.lock();
          if (self == nullptr || !self->is_loading_) return;
          try {
            self->Post([loaded = self->service_.surroundings_.policies.Get(
                            request)](AttestationStream& stream) {
              stream.PolicyLoaded(loaded);
            });
          } catch (const std::exception& error) {
            self->PostBreakOff(error.what());
          } catch (...) {
            self->PostBreakOff("something was thrown that is no exception");
          }
        });
  }
  void PostAppraisal(AppraisalJob job) override {
    // Of a piece that passes, as almost all do, there is no line.
    if (agent_.has_value() && job.first_entry == 0) {
      LogAppraisalStart(*agent_, log());
    }
    const absl::Time begun = SteadyNow();
    evidence_complete_ = begun;
    if (job.list.size() <= kSmallList) {
      small_job_ = std::move(job);
      return;
    }
    // A pool of its own: messages are taken meanwhile, whatever there is to be
    // judged. An agent has one thread of it at most, however many streams it
    // opens and leaves [A15].
    service_.surroundings_.appraisal_pool.Post(
        agent_.has_value() ? agent_->ToString() : key_,
        [self = shared_from_this(), begun,
         job = std::make_shared<const AppraisalJob>(std::move(job))] {
          try {
            auto outcome = std::make_shared<AppraisalOutcome>(job->Run());
            self->Appraised(*job, *outcome, SteadyNow() - begun);
            self->Post([outcome](AttestationStream& stream) {
              stream.session_->OnAppraised(std::move(*outcome), SteadyNow());
            });
          } catch (const std::exception& error) {
            self->PostBreakOff(error.what());
          }
        });
  }
  void PostVerdict(VerdictWrite write, bool is_urgent) override {
    // On the writer's thread, which is at it anyway: the answers of a group go
    // out one after another.
    service_.writer_.Write(
        std::move(write), is_urgent,
        [self = shared_from_this()](absl::StatusOr<RecordedVerdict> result) {
          // What was refused asks the store again, which may take its time.
          const bool is_quick = result.ok();
          const auto recorded =
              std::make_shared<absl::StatusOr<RecordedVerdict>>(
                  std::move(result));
          Job job = self->ToJob([recorded](AttestationStream& stream) {
            stream.Recorded(std::move(*recorded));
          });
          WorkerPool& pool = self->service_.surroundings_.pool;
          if (is_quick) {
            pool.RunOrPost(self->key_, std::move(job));
          } else {
            pool.Post(self->key_, std::move(job));
          }
        });
  }
  void SetTimer(absl::Time at) override {
    wake_at_ = at;
    // A call that comes earlier will look again: most deadlines only ever move
    // on.
    if (at < timer_at_) StartTimer(at);
  }

 private:
  using Job = WorkerPool::Job;

  Logger& log() { return service_.surroundings_.log; }

  void Post(std::function<void(AttestationStream&)> input) {
    service_.surroundings_.pool.Post(key_, ToJob(std::move(input)));
  }
  Job ToJob(std::function<void(AttestationStream&)> input) {
    return [self = shared_from_this(), input = std::move(input)] {
      current_stream = self.get();
      try {
        // Without a session where its making has failed.
        if (self->session_ != nullptr || self->ticket_ != nullptr) {
          input(*self);
        }
        self->AfterInput();
      } catch (const std::exception& error) {
        // Memory ran out, most likely. What was not written is not trusted.
        self->BreakOff(error.what());
      } catch (...) {
        self->BreakOff("something was thrown that is no exception");
      }
      current_stream = nullptr;
    };
  }

  static bool IsSmall(const v1::AgentMessage& message) {
    if (message.has_quote()) {
      return message.quote().list().data().size() <= kSmallList;
    }
    return message.has_chunk() && message.chunk().data().size() <= kSmallList;
  }

  void AfterInput() {
    if (session_ == nullptr) return Abandon();
    if (small_job_.has_value()) RunSmallJob();
    Flush();
    is_quick_ = session_->is_quick();
    is_loading_ = session_->is_loading();
    proven_ = session_->proven();
    if (!session_->finished()) return;
    End(grpc::Status::OK);
    if (done_) Forget();
  }
  // A session that was left in the middle of something is no use.
  void BreakOff(absl::string_view why) {
    log().Error("stream broken off", {{"error", why}});
    session_.reset();
    is_loading_ = false;
    ticket_.reset();
    small_job_.reset();
    Abandon();
  }
  // For work elsewhere that has failed: the session would wait for ever.
  void PostBreakOff(std::string why) {
    Post([why = std::move(why)](AttestationStream& stream) {
      stream.BreakOff(why);
    });
  }
  void Abandon() {
    End(grpc::Status(grpc::StatusCode::INTERNAL, ""));
    if (done_) Forget();
  }
  void Forget() {
    service_.surroundings_.scheduler.Cancel(timer_);
    service_.Forget(agent_, shared_from_this());
  }

  void RunSmallJob() {
    const AppraisalJob job = *std::exchange(small_job_, std::nullopt);
    const absl::Time begun = SteadyNow();
    AppraisalOutcome outcome = job.Run();
    Appraised(job, outcome, SteadyNow() - begun);
    if (outcome.appraisal.ok() &&
        outcome.appraisal->verdict != appraisal::Verdict::kUndecided) {
      return session_->OnAppraised(std::move(outcome), SteadyNow());
    }
    // Why nothing was decided is for the store, which may take its time.
    Post([outcome = std::move(outcome)](AttestationStream& self) {
      self.session_->OnAppraised(outcome, SteadyNow());
    });
  }

  void StartTimer(absl::Time at) {
    Scheduler& scheduler = service_.surroundings_.scheduler;
    scheduler.Cancel(timer_);
    timer_at_ = at;
    timer_ = scheduler.After(at - SteadyNow(), [self = shared_from_this()] {
      self->Post([](AttestationStream& stream) { stream.OnTimer(); });
    });
  }
  void OnTimer() {
    timer_at_ = absl::InfiniteFuture();
    const absl::Time now = SteadyNow();
    if (now >= wake_at_) {
      session_->OnTimer(now);
    } else if (wake_at_ != absl::InfiniteFuture()) {
      StartTimer(wake_at_);
    }
  }

  void Read() {
    writes_.WhileOpen([this] { StartRead(&message_); });
  }

  void TakeAndRead() {
    const absl::Duration early = session_->takes_quotes_from() - SteadyNow();
    if (message_.has_quote() && early > absl::ZeroDuration()) {
      // Nothing is read meanwhile.
      service_.surroundings_.scheduler.After(
          early, [self = shared_from_this()] {
            self->Post([](AttestationStream& stream) { stream.TakeAndRead(); });
          });
      return;
    }
    Take();
    // Nothing is read while a quote waits for its policy either.
    if (!session_->is_loading()) Read();
  }

  void PolicyLoaded(const LoadedPolicy& loaded) {
    if (!session_->is_loading()) return;  // it has ended
    session_->OnPolicyLoaded(loaded, SteadyNow());
    if (session_->is_loading()) return;
    if (held_chunk_.has_value()) {
      session_->OnChunk(*std::exchange(held_chunk_, std::nullopt), SteadyNow());
    }
    Read();
  }

  void Take() {
    absl::Status status;
    const absl::Time now = SteadyNow();
    switch (message_.message_case()) {
      case v1::AgentMessage::kHello: {
        auto hello = FromProto(message_.hello());
        status = hello.status();
        if (!hello.ok()) break;
        if (!agent_.has_value()) {
          agent_ = hello->agent_id;
          service_.Register(*agent_, shared_from_this());
          joins_ = message_.hello().joins();
        }
        session_->OnHello(*hello, now);
        break;
      }
      case v1::AgentMessage::kQuote: {
        status = TakeQuote(message_.quote(), now);
        break;
      }
      case v1::AgentMessage::kChunk: {
        auto chunk = FromProto(message_.chunk());
        status = chunk.status();
        if (!chunk.ok()) break;
        chunk->arrived = arrived_;
        session_->OnChunk(*std::move(chunk), now);
        break;
      }
      case v1::AgentMessage::MESSAGE_NOT_SET:
        status = absl::InvalidArgumentError("a message of no known kind");
        break;
    }
    if (!status.ok()) {
      session_->Refuse(status.message(), service_.options_.retry_after);
    }
    message_.Clear();
  }

  void Recorded(absl::StatusOr<RecordedVerdict> recorded) {
    if (absl::IsUnknown(recorded.status())) {
      return BreakOff(recorded.status().message());
    }
    session_->OnRecorded(std::move(recorded), SteadyNow());
  }

  absl::Status TakeQuote(const v1::Quote& message, absl::Time now) {
    CUPEL_ASSIGN_OR_RETURN(QuoteMessage quote, FromProto(message));
    quote.arrived = arrived_;
    if (!message.has_list()) {
      session_->OnQuote(std::move(quote), now);
      return absl::OkStatus();
    }
    // Nobody has told it yet where the list is to start, nor whether.
    if (!session_->proven()) {
      return absl::FailedPreconditionError("a list with a first quote");
    }
    CUPEL_ASSIGN_OR_RETURN(ChunkMessage chunk, FromProto(message.list()));
    chunk.arrived = arrived_;
    session_->OnQuote(std::move(quote), now);
    if (session_->is_loading()) {
      held_chunk_ = std::move(chunk);
    } else {
      session_->OnChunk(std::move(chunk), now);
    }
    return absl::OkStatus();
  }

  void Appraised(const AppraisalJob& job, const AppraisalOutcome& outcome,
                 absl::Duration latency) {
    Metrics& metrics = service_.surroundings_.metrics;
    if (!outcome.appraisal.ok()) {
      metrics.CountAppraisal(appraisal::Verdict::kUndecided, latency);
      log().Error("appraisal could not be made",
                  {{"stream", key_}, {"error", outcome.appraisal.status()}});
      return;
    }
    metrics.CountAppraisal(outcome.appraisal->verdict, latency);
    // The id is set before there is a quote, and never changes.
    if (!agent_.has_value()) return;
    const bool passed = outcome.appraisal->verdict == appraisal::Verdict::kPass;
    if (job.first_entry != 0 && !passed) LogAppraisalStart(*agent_, log());
    LogAppraisal(*agent_, *outcome.appraisal, log());
  }

  // Behind the present input: what it has to say goes out together.
  void Send(v1::VerifierMessage message) {
    outbox_.push_back(std::move(message));
  }
  void Flush() {
    if (outbox_.empty()) return;
    writes_.PushAll(std::move(outbox_));
    outbox_ = {};
    if (writes_.size() > kMaxWaitingMessages) Cancel();
  }

  // Finishes after what waits, whether the peer takes it or not.
  void End(const grpc::Status& status) {
    if (ended_) return;
    ended_ = true;
    Flush();
    writes_.Finish(status);
    service_.surroundings_.scheduler.After(
        kEndTimeout, [self = shared_from_this()] { self->Cancel(); });
  }

  void Close() {
    writes_.Finish(grpc::Status::OK, /*at_once=*/true);
    Post([](AttestationStream& self) { self.session_->OnClosed(); });
  }

  void Cancel() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (context_ != nullptr) context_->TryCancel();
  }

  AttestationService& service_;
  std::mutex mutex_;                      // guards context_
  grpc::CallbackServerContext* context_;  // nullptr once gRPC is done
  const std::string address_;
  const std::string key_;
  WriteQueue<AttestationStream, v1::VerifierMessage> writes_{*this};
  std::atomic<bool> settings_changed_ = false;
  std::atomic<bool> proven_ = false;
  // Of the session. Others may have changed it since: then what was taken for
  // quick waits for once.
  std::atomic<bool> is_quick_ = false;
  std::atomic<bool> is_loading_ = false;

  std::unique_ptr<SessionTable::Ticket> ticket_;
  std::unique_ptr<Session> session_;
  absl::Time arrived_;  // when message_ came
  v1::AgentMessage message_;
  std::optional<AgentId> agent_;
  bool joins_ = false;                           // as Hello says
  std::optional<absl::Time> evidence_complete_;  // of the present round
  std::optional<ChunkMessage> held_chunk_;       // of a quote that waits
  // Of the present input: what it has posted, and what is to be sent.
  std::optional<AppraisalJob> small_job_;
  std::vector<v1::VerifierMessage> outbox_;
  absl::Time wake_at_ = absl::InfiniteFuture();
  Scheduler::Id timer_ = 0;
  absl::Time timer_at_ = absl::InfiniteFuture();  // no later than wake_at_
  bool ended_ = false;
  std::atomic<bool> done_ = false;  // gRPC is; Forget may be called twice
};

AttestationService::AttestationService(const Surroundings& surroundings,
                                       SessionOptions options,
                                       size_t max_streams)
    : surroundings_(surroundings),
      options_(std::move(options)),
      max_streams_(max_streams),
      writer_(surroundings.store) {}

AttestationService::~AttestationService() = default;

grpc::ServerBidiReactor<v1::AgentMessage, v1::VerifierMessage>*
AttestationService::Attest(grpc::CallbackServerContext* context) {
  try {
    return Begin(context);
  } catch (const std::exception& error) {
    return new RefusedStream(
        ToGrpc(absl::InternalError(error.what()), "Attest", surroundings_.log));
  }
}

grpc::ServerBidiReactor<v1::AgentMessage, v1::VerifierMessage>*
AttestationService::Begin(grpc::CallbackServerContext* context) {
  const auto stream =
      std::make_shared<AttestationStream>(*this, context, ++last_number_);
  auto ticket = surroundings_.table.Open(
      PeerAddress(context->peer()),
      [weak = std::weak_ptr<AttestationStream>(stream)] {
        if (const Stream displaced = weak.lock()) displaced->Displaced();
      });
  if (!ticket.ok()) {
    return new RefusedStream(
        ToGrpc(ticket.status(), "Attest", surroundings_.log));
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  if (ending_) {
    return new RefusedStream({grpc::StatusCode::UNAVAILABLE, "ending"});
  }
  if (streams_.size() >= max_streams_) {
    return new RefusedStream(
        {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many streams"});
  }
  streams_.insert(stream);
  // Under the lock: whoever finds the stream posts behind its first job.
  stream->Begin(*std::move(ticket));
  return stream.get();
}

void AttestationService::Register(const AgentId& agent, const Stream& stream) {
  const std::lock_guard<std::mutex> lock(mutex_);
  by_agent_[agent].push_back(stream);
}

void AttestationService::Forget(const std::optional<AgentId>& agent,
                                const Stream& stream) {
  const std::lock_guard<std::mutex> lock(mutex_);
  streams_.erase(stream);
  if (!agent.has_value()) return;
  const auto found = by_agent_.find(*agent);
  if (found == by_agent_.end()) return;
  std::erase(found->second, stream);
  if (found->second.empty()) by_agent_.erase(found);
}

std::vector<AttestationService::Stream> AttestationService::StreamsOf(
    const std::optional<AgentId>& agent) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!agent.has_value()) return {streams_.begin(), streams_.end()};
  const auto found = by_agent_.find(*agent);
  if (found == by_agent_.end()) return {};
  return found->second;
}

void AttestationService::OnStoreChange(const std::optional<AgentId>& agent) {
  for (const Stream& stream : StreamsOf(agent)) stream->SettingsChanged();
}

void AttestationService::OnCertificate(const crypto::Digest& sha256) {
  for (const Stream& stream : StreamsOf(std::nullopt)) {
    stream->Certificate(sha256);
  }
}

bool AttestationService::AttestNow(const AgentId& agent) {
  bool asked = false;
  for (const Stream& stream : StreamsOf(agent)) {
    if (!stream->proven()) continue;
    stream->AttestNow();
    asked = true;
  }
  return asked;
}

void AttestationService::RefuseAll(absl::string_view reason,
                                   absl::Duration retry_after) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  for (const Stream& stream : StreamsOf(std::nullopt)) {
    stream->Refuse(std::string(reason), retry_after);
  }
}

size_t AttestationService::stream_count() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return streams_.size();
}

}  // namespace cupel::verifier
