#include "tests/bench/bare_stream.h"

#include <atomic>
#include <cstdio>
#include <memory>
#include <mutex>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/rpc/attestation_client.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "grpcpp/support/server_callback.h"
#include "proto/cupel/v1/attestation.grpc.pb.h"
#include "tests/bench/process_usage.h"
#include "tests/bench/simulated_agent.h"
#include "tests/support/run_command.h"
#include "verifier/rpc/write_queue.h"

namespace cupel::bench {
namespace {

constexpr size_t kMaxPemSize = size_t{1} << 20;
constexpr absl::Duration kStartTimeout = absl::Seconds(30);

absl::StatusOr<std::string> ReadText(const std::string& path) {
  CUPEL_ASSIGN_OR_RETURN(const auto bytes, ReadFile(path, kMaxPemSize));
  return std::string(AsText(bytes));
}

v1::VerifierMessage UsualVerdict() {
  v1::VerifierMessage message;
  v1::Verdict& verdict = *message.mutable_verdict();
  verdict.set_state("TRUSTED");
  verdict.set_next_entry(1000);
  verdict.set_next_byte_offset(150'000);
  v1::Challenge& challenge = *verdict.mutable_next();
  challenge.set_nonce(std::string(32, 'n'));
  challenge.set_certificate_sha256(std::string(32, 'c'));
  v1::BankSelection& selection = *challenge.add_selection();
  selection.set_bank("sha256");
  for (uint32_t pcr = 0; pcr <= 10; ++pcr) selection.add_pcrs(pcr);
  challenge.mutable_answer_within()->set_seconds(10);
  challenge.mutable_least_interval()->set_nanos(100'000'000);
  return message;
}

class BareReactor final
    : public grpc::ServerBidiReactor<v1::AgentMessage, v1::VerifierMessage> {
 public:
  BareReactor() { StartRead(&message_); }

  void OnReadDone(bool ok) override {
    if (!ok) return writes_.Finish(grpc::Status::OK, /*at_once=*/true);
    v1::VerifierMessage answer = UsualVerdict();
    if (!message_.quote().has_list()) {
      answer.mutable_list_request()->set_joins(true);
    }
    writes_.Push(std::move(answer));
    writes_.WhileOpen([this] { StartRead(&message_); });
  }
  void OnWriteDone(bool ok) override { writes_.OnWriteDone(ok); }
  void OnDone() override { delete this; }

 private:
  v1::AgentMessage message_;
  verifier::WriteQueue<BareReactor, v1::VerifierMessage> writes_{*this};
};

class BareService final : public v1::Attestation::CallbackService {
 public:
  grpc::ServerBidiReactor<v1::AgentMessage, v1::VerifierMessage>* Attest(
      grpc::CallbackServerContext* /*context*/) override {
    return new BareReactor();
  }
};

// The other end: counts what is answered.
class BareAgent final : public agent::AttestationClient::Events {
 public:
  explicit BareAgent(std::atomic<uint64_t>& exchanges)
      : exchanges_(exchanges) {}

  absl::Status Open(const std::string& address,
                    const agent::ChannelOptions& options) {
    CUPEL_ASSIGN_OR_RETURN(
        client_, agent::AttestationClient::Open(address, options, *this));
    return absl::OkStatus();
  }
  // The first one is a quote alone, as on a stream that proves itself by it.
  void Exchange() {
    client_->Send(
        agent::QuoteMessage{.attest = std::vector<uint8_t>(145),
                            .signature = std::vector<uint8_t>(72),
                            // Stands for eleven PCRs with their names.
                            .pcrs = {},
                            .nonce = std::vector<uint8_t>(32 + 11 * 46),
                            .list_follows = !is_first_});
    if (!std::exchange(is_first_, false)) {
      client_->Send(
          agent::ChunkMessage{.data = std::vector<uint8_t>(450), .last = true});
    }
  }

  void OnCertificate(const crypto::Digest& /*sha256*/) override {}
  void OnMessage(agent::VerifierMessage message) override {
    if (!std::holds_alternative<agent::VerdictMessage>(message)) ++exchanges_;
  }
  void OnWritten() override {}
  void OnClosed(const absl::Status& /*status*/) override {}

 private:
  std::atomic<uint64_t>& exchanges_;
  bool is_first_ = true;
  std::unique_ptr<agent::AttestationClient> client_;
};

absl::StatusOr<std::string> AwaitAddress(const std::string& listening) {
  const absl::Time end = absl::Now() + kStartTimeout;
  while (absl::Now() < end) {
    if (auto address = ReadText(listening); address.ok()) return address;
    absl::SleepFor(absl::Milliseconds(5));
  }
  return absl::UnavailableError("the bare server does not come up");
}

}  // namespace

absl::Status ServeBareStreams(const std::string& certificate_file,
                              const std::string& key_file,
                              const std::string& listening_file) {
  grpc::SslServerCredentialsOptions tls;
  CUPEL_ASSIGN_OR_RETURN(std::string certificate, ReadText(certificate_file));
  CUPEL_ASSIGN_OR_RETURN(std::string key, ReadText(key_file));
  tls.pem_key_cert_pairs.push_back({std::move(key), std::move(certificate)});
  BareService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(tls),
                           &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return absl::UnavailableError("no port is free");
  const std::string part = listening_file + ".part";
  CUPEL_RETURN_IF_ERROR(WriteFile(part, absl::StrCat("127.0.0.1:", port)));
  if (std::rename(part.c_str(), listening_file.c_str()) != 0) {
    return absl::UnavailableError(listening_file);
  }
  server->Wait();
  return absl::OkStatus();
}

absl::StatusOr<BareCost> MeasureBareStreams(const std::string& folder,
                                            size_t stream_count,
                                            double exchanges_per_second,
                                            absl::Duration duration) {
  CUPEL_ASSIGN_OR_RETURN(
      const auto server,
      testing::Server::Start({"/proc/self/exe", "--bare_server", folder},
                             folder + "/bare.log"));
  CUPEL_ASSIGN_OR_RETURN(const std::string address,
                         AwaitAddress(folder + "/bare.listening"));
  agent::ChannelOptions channel;
  CUPEL_ASSIGN_OR_RETURN(channel.root_certificates,
                         ReadText(folder + "/pki/ca/certificate.pem"));
  std::atomic<uint64_t> exchanges = 0;
  std::vector<std::unique_ptr<BareAgent>> agents;
  const auto open_up_to = [&](size_t count) -> absl::StatusOr<ProcessUsage> {
    while (agents.size() < count) {
      agents.push_back(std::make_unique<BareAgent>(exchanges));
      CUPEL_RETURN_IF_ERROR(agents.back()->Open(address, channel));
      agents.back()->Exchange();
    }
    const absl::Time deadline = absl::Now() + kStartTimeout;
    while (exchanges < count) {
      if (absl::Now() > deadline) {
        return absl::DeadlineExceededError("the bare server does not answer");
      }
      absl::SleepFor(absl::Milliseconds(5));
    }
    return UsageOf(server->pid());
  };
  CUPEL_ASSIGN_OR_RETURN(const ProcessUsage first, open_up_to(1));
  CUPEL_ASSIGN_OR_RETURN(const ProcessUsage before, open_up_to(stream_count));
  const uint64_t count_before = exchanges;
  const absl::Time begin = SimulationNow();
  for (size_t i = 0;; ++i) {
    const absl::Duration due =
        absl::Seconds(static_cast<double>(i) / exchanges_per_second);
    if (due >= duration) break;
    absl::SleepFor(begin + due - SimulationNow());
    agents[i % agents.size()]->Exchange();
  }
  absl::SleepFor(absl::Milliseconds(100));
  CUPEL_ASSIGN_OR_RETURN(const ProcessUsage after, UsageOf(server->pid()));
  BareCost cost;
  cost.exchange_count = exchanges - count_before;
  if (cost.exchange_count == 0) {
    return absl::InternalError("no exchange with the bare server");
  }
  if (stream_count > 1) {
    cost.server_memory =
        static_cast<double>(before.resident_size - first.resident_size) /
        static_cast<double>(stream_count - 1);
  }
  cost.server_cpu =
      (after.cpu - before.cpu) / static_cast<int64_t>(cost.exchange_count);
  return cost;
}

}  // namespace cupel::bench
