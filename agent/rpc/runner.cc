#include "agent/rpc/runner.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/rpc/attestation_client.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "common/util/steady_clock.h"

namespace cupel::agent {
namespace {

struct Written {};
struct Closed {
  absl::Status status;
};
struct Quoted {
  uint64_t id = 0;
  absl::StatusOr<QuoteResult> result;
};
using Event =
    std::variant<crypto::Digest, VerifierMessage, Written, Closed, Quoted>;

// What other threads bring to the one that is in Run().
class Mailbox {
 public:
  void Put(Event event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    changed_.notify_one();
  }
  void Stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_one();
  }
  bool stopped() {
    const std::lock_guard lock(mutex_);
    return stopped_;
  }
  // Waits for an event until `until`; nullopt then, or once stopped.
  std::optional<Event> Take(absl::Time until) {
    const absl::Duration wait =
        std::clamp(until - SteadyNow(), absl::ZeroDuration(),
                   absl::Duration(absl::Hours(1)));
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, absl::ToChronoNanoseconds(wait),
                      [&] { return stopped_ || !events_.empty(); });
    if (stopped_ || events_.empty()) return std::nullopt;
    Event event = std::move(events_.front());
    events_.pop_front();
    return event;
  }
  // Drops what an ended stream has left behind.
  void DropStream() {
    const std::lock_guard lock(mutex_);
    std::erase_if(events_, [](const Event& event) {
      return !std::holds_alternative<Quoted>(event);
    });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Event> events_;
  bool stopped_ = false;
};

// The thread that waits for the TPM.
class QuoteThread {
 public:
  QuoteThread(Quoter& quoter, Mailbox& mailbox)
      : quoter_(quoter), mailbox_(mailbox), thread_([this] { Work(); }) {}
  ~QuoteThread() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
      changed_.notify_one();
    }
    thread_.join();
  }
  QuoteThread(const QuoteThread&) = delete;
  QuoteThread& operator=(const QuoteThread&) = delete;

  // The attester has one job at a time.
  void Start(QuoteJob job) {
    const std::lock_guard lock(mutex_);
    job_ = std::move(job);
    changed_.notify_one();
  }

 private:
  void Work() {
    for (;;) {
      QuoteJob job;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return ending_ || job_.has_value(); });
        if (ending_) return;
        job = *std::move(job_);
        job_.reset();
      }
      mailbox_.Put(Quoted{job.id, Make(job)});
    }
  }

  absl::StatusOr<QuoteResult> Make(const QuoteJob& job) {
    try {
      return quoter_.Quote(job.qualifying_data, job.selection);
    } catch (const std::exception& error) {
      return absl::InternalError(EscapeForDisplay(error.what()));
    }
  }

  Quoter& quoter_;
  Mailbox& mailbox_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<QuoteJob> job_;
  bool ending_ = false;
  std::thread thread_;  // last: it uses the others
};

// Brings a stream's events to the mailbox.
class StreamEvents : public AttestationClient::Events {
 public:
  explicit StreamEvents(Mailbox& mailbox) : mailbox_(mailbox) {}
  void OnCertificate(const crypto::Digest& sha256) override {
    mailbox_.Put(sha256);
  }
  void OnMessage(VerifierMessage message) override {
    mailbox_.Put(std::move(message));
  }
  void OnWritten() override { mailbox_.Put(Written{}); }
  void OnClosed(const absl::Status& status) override {
    mailbox_.Put(Closed{status});
  }

 private:
  Mailbox& mailbox_;
};

std::string Describe(const VerdictMessage& verdict) {
  std::string text = EscapeForDisplay(verdict.state);
  if (!verdict.findings.empty()) {
    absl::StrAppend(&text, ": ",
                    EscapeForDisplay(absl::StrJoin(verdict.findings, ", ")));
  }
  if (!verdict.reason.empty()) {
    absl::StrAppend(&text, ": ", EscapeForDisplay(verdict.reason));
  }
  return text;
}

}  // namespace

class Runner::Impl {
 public:
  Impl(RunnerOptions options, AddressRotation rotation, Quoter& quoter,
       ListSource& list)
      : options_(std::move(options)),
        rotation_(std::move(rotation)),
        quoter_(quoter),
        attester_(options_.attester, list) {}

  void Run() {
    QuoteThread quotes(quoter_, mailbox_);
    while (!mailbox_.stopped()) {
      const AddressRotation::Attempt attempt = rotation_.Next(SteadyNow());
      // A quote for an earlier stream may end meanwhile.
      while (!mailbox_.stopped() && SteadyNow() < attempt.at) {
        if (auto event = mailbox_.Take(attempt.at)) Handle(std::move(*event));
      }
      if (mailbox_.stopped()) return;
      if (absl::Status status = EnsureEnrolled(attempt.address); !status.ok()) {
        if (mailbox_.stopped()) return;
        OnFailed(absl::StrCat("not enrolled at ", attempt.address),
                 {.why = std::move(status), .retry_after = {}});
        continue;
      }
      const CloseStream end = RunStream(attempt.address, quotes);
      if (mailbox_.stopped()) return;
      if (end.refused &&
          SteadyNow() - enrolled_at_ >= options_.enroll_again_after) {
        enrolled_ = false;
      }
      OnFailed(absl::StrCat("the stream to ", attempt.address, " has ended"),
               end);
    }
  }

  void Stop() {
    stop_.request_stop();
    mailbox_.Stop();
  }

 private:
  absl::Status EnsureEnrolled(const std::string& address) {
    if (enrolled_ || !options_.enroll) return absl::OkStatus();
    CUPEL_RETURN_IF_ERROR(options_.enroll(address, stop_.get_token()));
    enrolled_ = true;
    enrolled_at_ = SteadyNow();
    return absl::OkStatus();
  }

  void OnFailed(absl::string_view what, const CloseStream& end) {
    rotation_.OnFailed(SteadyNow(), end.retry_after);
    Log(RunnerEvent::kWarning,
        absl::StrCat(
            what, ": ",
            end.why.ok() ? "the verifier ended it" : end.why.ToString(),
            "; the next attempt is due in ",
            absl::FormatDuration(
                absl::Trunc(rotation_.Next(SteadyNow()).at - SteadyNow(),
                            absl::Milliseconds(1)))));
  }

  // Drives one stream to its end.
  CloseStream RunStream(const std::string& address, QuoteThread& quotes) {
    StreamEvents events(mailbox_);
    auto client = AttestationClient::Open(address, options_.channel, events);
    if (!client.ok()) return {.why = client.status(), .retry_after = {}};
    closed_.reset();
    attester_.OnConnected(SteadyNow());
    absl::Time poll_at = SteadyNow() + options_.poll_interval;
    while (!closed_ && !mailbox_.stopped()) {
      while (!closed_) {
        std::optional<Action> action = attester_.Next(SteadyNow());
        if (!action) break;
        Perform(*std::move(action), **client, quotes);
      }
      if (closed_) break;
      const absl::Time until = std::min(attester_.WakeAt(), poll_at);
      if (auto event = mailbox_.Take(until)) Handle(std::move(*event));
      if (SteadyNow() >= poll_at) {
        attester_.Poll(SteadyNow());
        poll_at = SteadyNow() + options_.poll_interval;
      }
    }
    client->reset();  // no event comes after it
    mailbox_.DropStream();
    attester_.OnDisconnected();
    return closed_.value_or(CloseStream{});
  }

  void Perform(Action action, AttestationClient& client, QuoteThread& quotes) {
    if (auto* message = std::get_if<AgentMessage>(&action)) {
      client.Send(std::move(*message));
    } else if (auto* job = std::get_if<QuoteJob>(&action)) {
      quotes.Start(std::move(*job));
    } else {
      closed_ = std::get<CloseStream>(std::move(action));
    }
  }

  void Handle(Event event) {
    if (const auto* certificate = std::get_if<crypto::Digest>(&event)) {
      attester_.OnCertificate(*certificate);
    } else if (auto* message = std::get_if<VerifierMessage>(&event)) {
      attester_.OnMessage(SteadyNow(), std::move(*message));
      if (const VerdictMessage* verdict = attester_.verdict()) Note(*verdict);
    } else if (std::holds_alternative<Written>(event)) {
      attester_.OnWritten(SteadyNow());
    } else if (auto* quoted = std::get_if<Quoted>(&event)) {
      if (!quoted->result.ok()) {
        Log(RunnerEvent::kWarning,
            absl::StrCat("the TPM did not quote, and will be asked again: ",
                         quoted->result.status().ToString()));
      }
      attester_.OnQuoted(SteadyNow(), quoted->id, std::move(quoted->result));
    } else {
      closed_ =
          CloseStream{.why = std::get<Closed>(event).status, .retry_after = {}};
    }
  }

  void Note(const VerdictMessage& verdict) {
    rotation_.OnWorking();
    std::string text = Describe(verdict);
    if (text == last_verdict_) return;
    Log(RunnerEvent::kInfo, absl::StrCat("the verdict is ", text));
    last_verdict_ = std::move(text);
  }

  void Log(RunnerEvent event, absl::string_view text) {
    if (options_.log) options_.log(event, text);
  }

  const RunnerOptions options_;
  AddressRotation rotation_;
  Quoter& quoter_;
  Attester attester_;
  Mailbox mailbox_;
  std::stop_source stop_;
  std::optional<CloseStream> closed_;  // how the stream ended
  std::string last_verdict_;
  bool enrolled_ = false;
  absl::Time enrolled_at_;
};

absl::StatusOr<std::unique_ptr<Runner>> Runner::Create(RunnerOptions options,
                                                       Quoter& quoter,
                                                       ListSource& list) {
  CUPEL_ASSIGN_OR_RETURN(
      AddressRotation rotation,
      AddressRotation::Create(options.verifiers, options.rotation,
                              AddressRotation::MakeRandom()));
  for (const std::string& address : options.verifiers) {
    CUPEL_RETURN_IF_ERROR(
        MakeVerifierChannel(address, options.channel).status());
  }
  return std::unique_ptr<Runner>(new Runner(std::make_unique<Impl>(
      std::move(options), std::move(rotation), quoter, list)));
}

Runner::Runner(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Runner::~Runner() = default;
void Runner::Run() { impl_->Run(); }
void Runner::Stop() { impl_->Stop(); }

}  // namespace cupel::agent
