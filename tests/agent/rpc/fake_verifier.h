// A verifier's services over real TLS in this process, whose answers a test
// writes.
#ifndef CUPEL_TESTS_AGENT_RPC_FAKE_VERIFIER_H_
#define CUPEL_TESTS_AGENT_RPC_FAKE_VERIFIER_H_

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "catch2/catch.hpp"
#include "proto/cupel/v1/attestation.grpc.pb.h"
#include "tests/support/test_pki.h"

namespace cupel::agent {

class FakeVerifier : public v1::Attestation::Service,
                     public v1::Enrollment::Service {
 public:
  using Stream =
      grpc::ServerReaderWriter<v1::VerifierMessage, v1::AgentMessage>;
  // Plays the verifier on one stream; called by a thread of the server's. Must
  // not use Catch2's macros.
  using Play = std::function<void(Stream&)>;

  // On a free port of loopback, or on `port`.
  FakeVerifier(testing::TestCertificate certificate, Play play, int port = 0)
      : certificate_(std::move(certificate)), play_(std::move(play)) {
    grpc::SslServerCredentialsOptions options;
    options.pem_key_cert_pairs.push_back(
        {certificate_.key_pem, certificate_.certificate_pem});
    grpc::ServerBuilder builder;
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddListeningPort(absl::StrCat("127.0.0.1:", port),
                             grpc::SslServerCredentials(options), &port_);
    builder.RegisterService(static_cast<v1::Attestation::Service*>(this));
    builder.RegisterService(static_cast<v1::Enrollment::Service*>(this));
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
    REQUIRE(port_ != 0);
  }
  // Ends streams that are open.
  ~FakeVerifier() override {
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
  }

  grpc::Status Attest(grpc::ServerContext* /*context*/,
                      Stream* stream) override {
    ++stream_count;
    play_(*stream);
    return grpc::Status::OK;
  }
  grpc::Status Begin(grpc::ServerContext* /*context*/,
                     const v1::BeginEnrollmentRequest* request,
                     v1::BeginEnrollmentReply* reply) override {
    if (on_begin) return on_begin(*request, *reply);
    if (request->enrollment_token() == "wrong") {
      return {grpc::StatusCode::PERMISSION_DENIED, "no such token\x1b[2J"};
    }
    begun = *request;
    reply->set_credential_blob("blob");
    reply->set_encrypted_secret("secret");
    reply->set_cookie("cookie");
    return grpc::Status::OK;
  }
  grpc::Status Complete(grpc::ServerContext* /*context*/,
                        const v1::CompleteEnrollmentRequest* request,
                        v1::CompleteEnrollmentReply* reply) override {
    if (on_complete) return on_complete(*request, *reply);
    completed = *request;
    reply->set_state("ENROLLED");
    return grpc::Status::OK;
  }

  std::string address() const { return absl::StrCat("localhost:", port_); }
  int port() const { return port_; }
  const testing::TestCertificate& certificate() const { return certificate_; }

  // Answer the calls in this object's place; to be set before there is a
  // client.
  std::function<grpc::Status(const v1::BeginEnrollmentRequest&,
                             v1::BeginEnrollmentReply&)>
      on_begin;
  std::function<grpc::Status(const v1::CompleteEnrollmentRequest&,
                             v1::CompleteEnrollmentReply&)>
      on_complete;

  std::atomic<int> stream_count = 0;
  // What the last calls brought; to be read after they have returned.
  v1::BeginEnrollmentRequest begun;
  v1::CompleteEnrollmentRequest completed;

 private:
  const testing::TestCertificate certificate_;
  const Play play_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace cupel::agent

#endif  // CUPEL_TESTS_AGENT_RPC_FAKE_VERIFIER_H_
