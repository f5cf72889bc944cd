#include "agent/rpc/attestation_client.h"

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "agent/rpc/conversions.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "proto/cupel/v1/attestation.grpc.pb.h"

namespace cupel::agent {

// Writes come from outside of the reactions, so the call is held open until
// reading has ended and no write is under way.
class AttestationClient::Reactor
    : public grpc::ClientBidiReactor<v1::AgentMessage, v1::VerifierMessage> {
 public:
  Reactor(const std::shared_ptr<grpc::Channel>& channel, std::string address,
          Events& events)
      : address_(std::move(address)),
        events_(events),
        stub_(v1::Attestation::NewStub(channel)) {
    stub_->async()->Attest(&context_, this);
    AddHold();
    StartRead(&received_);
    StartCall();
  }

  void Send(AgentMessage message) {
    const auto* const quote = std::get_if<QuoteMessage>(&message);
    {
      const std::lock_guard lock(mutex_);
      if (ended_) return;
      const bool holds = joins_ && quote != nullptr && quote->list_follows;
      if (held_.has_value()) {
        Join(std::move(message));
      } else if (holds) {
        held_ = ToProto(std::move(message));
        return;
      } else {
        queue_.push_back({.message = ToProto(std::move(message))});
      }
      if (writing_) return;
      TakeNext();
    }
    StartWrite(&sent_.message);
  }

  void Cancel() { context_.TryCancel(); }

  void WaitUntilDone() {
    std::unique_lock lock(mutex_);
    done_changed_.wait(lock, [&] { return done_; });
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      Release([&] { ended_ = true; });
      return;
    }
    if (absl::Status status = Deliver(); !status.ok() && failure_.ok()) {
      failure_ = std::move(status);
      context_.TryCancel();
    }
    StartRead(&received_);
  }

  void OnWriteDone(bool ok) override {
    for (int i = 0; ok && i < sent_.count; ++i) events_.OnWritten();
    bool again = false;
    {
      const std::lock_guard lock(mutex_);
      again = ok && !ended_ && !queue_.empty();
      writing_ = false;
      if (again) TakeNext();
      // A write that failed is followed by the end of reading.
      if (!ok) queue_.clear();
    }
    if (again) {
      StartWrite(&sent_.message);
    } else {
      Release([] {});
    }
  }

  void OnDone(const grpc::Status& status) override {
    events_.OnClosed(failure_.ok() ? FromGrpcStatus(status, address_)
                                   : failure_);
    const std::lock_guard lock(mutex_);
    done_ = true;
    done_changed_.notify_all();
  }

 private:
  absl::Status Deliver() {
    // After a failure nothing is believed.
    if (!failure_.ok()) return failure_;
    if (!certificate_shown_) {
      // Not earlier: see PeerCertificateSha256.
      CUPEL_ASSIGN_OR_RETURN(const crypto::Digest certificate,
                             PeerCertificateSha256(*context_.auth_context()));
      certificate_shown_ = true;
      events_.OnCertificate(certificate);
    }
    absl::StatusOr<VerifierMessage> message = FromProto(received_);
    if (!message.ok()) {
      return WithContext(message.status(), absl::StrCat("verifier ", address_));
    }
    absl::StatusOr<std::optional<VerifierMessage>> joined =
        JoinedFromProto(received_);
    if (!joined.ok()) {
      return WithContext(joined.status(), absl::StrCat("verifier ", address_));
    }
    if (received_.has_list_request() && received_.list_request().joins()) {
      const std::lock_guard lock(mutex_);
      joins_ = true;
    }
    events_.OnMessage(*std::move(message));
    if (joined->has_value()) events_.OnMessage(**std::move(joined));
    return absl::OkStatus();
  }

  // With mutex_ held: queues the quote that waits, and behind it, or within it,
  // `message`.
  void Join(AgentMessage message) {
    v1::AgentMessage quote = *std::exchange(held_, std::nullopt);
    v1::AgentMessage next = ToProto(std::move(message));
    if (next.has_chunk()) {
      *quote.mutable_quote()->mutable_list() = std::move(*next.mutable_chunk());
      queue_.push_back({.message = std::move(quote), .count = 2});
    } else {
      queue_.push_back({.message = std::move(quote)});
      queue_.push_back({.message = std::move(next)});
    }
  }

  // With mutex_ held.
  void TakeNext() {
    sent_ = std::move(queue_.front());
    queue_.pop_front();
    writing_ = true;
  }

  template <typename F>
  void Release(F change) {
    {
      const std::lock_guard lock(mutex_);
      change();
      if (!ended_ || writing_ || released_) return;
      released_ = true;
    }
    RemoveHold();
  }

  const std::string address_;
  Events& events_;
  const std::unique_ptr<v1::Attestation::Stub> stub_;
  grpc::ClientContext context_;

  // Of the reactions to reading, and of OnDone after them.
  v1::VerifierMessage received_;
  bool certificate_shown_ = false;
  absl::Status failure_;

  std::mutex mutex_;
  std::condition_variable done_changed_;
  bool joins_ = false;  // as the verifier says
  // A quote that its list's first piece is to come with.
  std::optional<v1::AgentMessage> held_;
  struct Write {
    v1::AgentMessage message;
    int count = 1;  // of those that Send was given
  };
  std::deque<Write> queue_;
  Write sent_;  // gRPC's while writing_
  bool writing_ = false;
  bool ended_ = false;
  bool released_ = false;
  bool done_ = false;
};

absl::StatusOr<std::unique_ptr<AttestationClient>> AttestationClient::Open(
    const std::string& address, const ChannelOptions& options, Events& events) {
  CUPEL_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel,
                         MakeVerifierChannel(address, options));
  return std::unique_ptr<AttestationClient>(new AttestationClient(
      std::make_unique<Reactor>(channel, address, events)));
}

AttestationClient::AttestationClient(std::unique_ptr<Reactor> reactor)
    : reactor_(std::move(reactor)) {}

AttestationClient::~AttestationClient() {
  reactor_->Cancel();
  reactor_->WaitUntilDone();
}

void AttestationClient::Send(AgentMessage message) {
  reactor_->Send(std::move(message));
}

void AttestationClient::Cancel() { reactor_->Cancel(); }

}  // namespace cupel::agent
