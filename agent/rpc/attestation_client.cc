#include "agent/rpc/attestation_client.h"

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

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
    {
      const std::lock_guard lock(mutex_);
      if (ended_) return;
      queue_.push_back(ToProto(std::move(message)));
      if (writing_) return;
      TakeNext();
    }
    StartWrite(&sent_);
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
    if (ok) events_.OnWritten();
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
      StartWrite(&sent_);
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
    events_.OnMessage(*std::move(message));
    return absl::OkStatus();
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
  std::deque<v1::AgentMessage> queue_;
  v1::AgentMessage sent_;  // gRPC's while writing_
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
