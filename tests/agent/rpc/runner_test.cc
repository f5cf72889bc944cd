#include "agent/rpc/runner.h"

#include <cstdlib>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "catch2/catch.hpp"
#include "common/tpm/attest.h"
#include "common/tpm/binding.h"
#include "common/util/bytes.h"
#include "tests/agent/rpc/fake_verifier.h"
#include "tests/support/fake_machine.h"
#include "tests/support/status_matchers.h"

namespace cupel::agent {
namespace {

using testing::FakeQuoter;
using testing::MemoryList;
using testing::StatusIs;
using testing::StatusOf;
using testing::TestCa;
using testing::TestCertificate;

constexpr char kId[] = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";
constexpr std::chrono::seconds kPatience(30);

// What one honest round brought the verifier.
struct Round {
  v1::Hello hello;
  v1::Quote quote;
  std::string list;
};

v1::VerifierMessage Challenge(const TestCertificate& certificate, char nonce) {
  v1::VerifierMessage message;
  v1::Challenge& challenge = *message.mutable_challenge();
  challenge.set_nonce(std::string(32, nonce));
  challenge.set_certificate_sha256(
      std::string(AsText(certificate.sha256.bytes())));
  v1::BankSelection& selection = *challenge.add_selection();
  selection.set_bank("sha256");
  selection.add_pcrs(0);
  selection.add_pcrs(10);
  challenge.mutable_answer_within()->set_seconds(10);
  challenge.set_now(true);
  return message;
}

// A verifier's part of one round from Hello to verdict; the stream stays open
// until the agent or the server ends it. False if it ended before that.
bool PlayRound(FakeVerifier::Stream& stream, const TestCertificate& certificate,
               Round& round) {
  v1::AgentMessage message;
  if (!stream.Read(&message) || !message.has_hello()) return false;
  round.hello = message.hello();
  stream.Write(Challenge(certificate, 'n'));
  if (!stream.Read(&message) || !message.has_quote()) return false;
  round.quote = message.quote();
  v1::VerifierMessage request;
  request.mutable_list_request();
  stream.Write(request);
  do {
    if (!stream.Read(&message) || !message.has_chunk()) return false;
    round.list += message.chunk().data();
  } while (!message.chunk().last());
  v1::VerifierMessage verdict;
  verdict.mutable_verdict()->set_state("TRUSTED");
  verdict.mutable_verdict()->set_next_byte_offset(round.list.size());
  stream.Write(verdict);
  return true;
}

// Waits for the stream's end.
void Drain(FakeVerifier::Stream& stream) {
  v1::AgentMessage message;
  while (stream.Read(&message)) {
  }
}

class Agent {
 public:
  Agent(std::vector<std::string> verifiers, std::string roots)
      : options{.verifiers = std::move(verifiers),
                .channel = {.root_certificates = std::move(roots)},
                .attester = {.agent_id = *AgentId::Parse(kId)}} {
    list.Add(100, 10'000);
    options.rotation.least_delay = absl::Milliseconds(20);
    options.rotation.most_delay = absl::Milliseconds(200);
    options.log = [this](RunnerEvent, absl::string_view text) {
      const std::lock_guard lock(mutex_);
      log_ += absl::StrCat(text, "\n");
    };
  }
  ~Agent() { Stop(); }

  void Start() {
    auto runner = Runner::Create(options, quoter, list);
    REQUIRE(runner.ok());
    runner_ = *std::move(runner);
    thread_ = std::thread([this] { runner_->Run(); });
  }
  void Stop() {
    if (!thread_.joinable()) return;
    runner_->Stop();
    thread_.join();
  }
  std::string log() {
    const std::lock_guard lock(mutex_);
    return log_;
  }
  bool WaitForLog(const std::string& text) {
    for (int i = 0; i < 3000; ++i) {
      if (log().find(text) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  MemoryList list;
  FakeQuoter quoter;
  RunnerOptions options;

 private:
  std::mutex mutex_;
  std::string log_;
  std::unique_ptr<Runner> runner_;
  std::thread thread_;
};

TEST_CASE("Runner: a round over TLS, past any HTTP proxy") {
  setenv("https_proxy", "http://127.0.0.1:1", 1);
  setenv("http_proxy", "http://127.0.0.1:1", 1);
  const TestCa ca;
  const TestCertificate certificate = ca.IssueServer();
  std::promise<Round> done;
  FakeVerifier verifier(certificate, [&](FakeVerifier::Stream& stream) {
    Round round;
    if (PlayRound(stream, certificate, round)) done.set_value(round);
    Drain(stream);
  });
  Agent agent({verifier.address()}, ca.pem());
  agent.options.attester.chunk_size = 100'000;
  agent.Start();
  auto future = done.get_future();
  REQUIRE(future.wait_for(kPatience) == std::future_status::ready);
  const Round round = future.get();
  unsetenv("https_proxy");
  unsetenv("http_proxy");

  CHECK(round.hello.agent_id() == AsText(AgentId::Parse(kId)->bytes()));
  CHECK(round.hello.entry_count() == 100);
  CHECK(round.list == AsText(agent.list.bytes()));
  CHECK(round.quote.nonce() == std::string(32, 'n'));
  const auto attest = tpm::ParseAttest(AsBytes(round.quote.attest()));
  REQUIRE(attest.ok());
  const auto expected = tpm::QuoteQualifyingData(
      AsBytes(round.quote.nonce()), *AgentId::Parse(kId), certificate.sha256);
  REQUIRE(expected.ok());
  CHECK(attest->extra_data == ToVector(expected->bytes()));
  CHECK(agent.WaitForLog("the verdict is TRUSTED"));
}

TEST_CASE("Runner: nothing is quoted for another certificate [A1]") {
  const TestCa ca;
  const TestCertificate other = ca.IssueServer();
  FakeVerifier verifier(ca.IssueServer(), [&](FakeVerifier::Stream& stream) {
    Round round;
    PlayRound(stream, other, round);
  });
  Agent agent({verifier.address()}, ca.pem());
  agent.Start();
  CHECK(agent.WaitForLog("nothing was quoted"));
  agent.Stop();
  CHECK(agent.quoter.quote_count() == 0);
  CHECK(agent.list.read_count() == 0);
}

TEST_CASE("Runner: says nothing to a verifier that TLS does not trust") {
  const TestCa ca;
  const TestCa other("Other CA");
  std::string host = "localhost";
  std::string roots = ca.pem();
  SECTION("signed by another CA") { roots = other.pem(); }
  SECTION("for another host") { host = "elsewhere.test"; }
  FakeVerifier verifier(ca.IssueServer(host), Drain);
  Agent agent({verifier.address()}, roots);
  agent.Start();
  CHECK(agent.WaitForLog("has ended: UNAVAILABLE"));
  agent.Stop();
  CHECK(verifier.stream_count == 0);
}

TEST_CASE("Runner: a verifier that went away is found again") {
  const TestCa ca;
  const TestCertificate certificate = ca.IssueServer();
  std::atomic<int> rounds = 0;
  const auto play = [&](FakeVerifier::Stream& stream) {
    Round round;
    if (PlayRound(stream, certificate, round)) ++rounds;
    Drain(stream);
  };
  auto verifier = std::make_unique<FakeVerifier>(certificate, play);
  const int port = verifier->port();
  Agent agent({verifier->address()}, ca.pem());
  agent.Start();
  REQUIRE(agent.WaitForLog("the verdict is TRUSTED"));
  verifier.reset();
  REQUIRE(agent.WaitForLog("has ended"));
  FakeVerifier back(certificate, play, port);
  for (int i = 0; i < 3000 && rounds < 2; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(rounds == 2);
  agent.Stop();
}

TEST_CASE("Runner: goes on to the next verifier") {
  const TestCa ca;
  const TestCertificate certificate = ca.IssueServer();
  FakeVerifier verifier(certificate, [&](FakeVerifier::Stream& stream) {
    Round round;
    PlayRound(stream, certificate, round);
    Drain(stream);
  });
  Agent agent({"localhost:1", verifier.address()}, ca.pem());
  agent.Start();
  CHECK(agent.WaitForLog("the verdict is TRUSTED"));
  agent.Stop();
}

TEST_CASE("Runner: comes back when a refusal says so, and not before") {
  const TestCa ca;
  std::mutex mutex;
  std::vector<std::chrono::steady_clock::time_point> at;
  FakeVerifier verifier(ca.IssueServer(), [&](FakeVerifier::Stream& stream) {
    {
      const std::lock_guard lock(mutex);
      at.push_back(std::chrono::steady_clock::now());
    }
    v1::AgentMessage hello;
    stream.Read(&hello);
    v1::VerifierMessage refusal;
    refusal.mutable_refusal()->set_reason("not added yet");
    refusal.mutable_refusal()->mutable_retry_after()->set_seconds(1);
    stream.Write(refusal);
    Drain(stream);
  });
  Agent agent({verifier.address()}, ca.pem());
  agent.Start();
  CHECK(agent.WaitForLog("the verifier refused: not added yet"));
  for (int i = 0; i < 3000 && verifier.stream_count < 2; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  agent.Stop();
  const std::lock_guard lock(mutex);
  REQUIRE(at.size() >= 2);
  CHECK(at[1] - at[0] >= std::chrono::seconds(1));
  CHECK(agent.quoter.quote_count() == 0);
}

TEST_CASE("Runner: entries that were added meanwhile follow by themselves") {
  const TestCa ca;
  const TestCertificate certificate = ca.IssueServer();
  std::promise<std::string> added;
  std::promise<void> first;
  FakeVerifier verifier(certificate, [&](FakeVerifier::Stream& stream) {
    Round round;
    if (!PlayRound(stream, certificate, round)) return;
    v1::VerifierMessage next = Challenge(certificate, 'm');
    next.mutable_challenge()->set_now(false);
    stream.Write(next);
    first.set_value();
    v1::AgentMessage message;
    if (!stream.Read(&message) || !message.has_quote()) return;
    if (!stream.Read(&message) || !message.has_chunk()) return;
    added.set_value(message.chunk().data());
    Drain(stream);
  });
  Agent agent({verifier.address()}, ca.pem());
  agent.Start();
  REQUIRE(first.get_future().wait_for(kPatience) == std::future_status::ready);
  agent.list.Add(1, 3, 'e');
  auto future = added.get_future();
  REQUIRE(future.wait_for(std::chrono::seconds(5)) ==
          std::future_status::ready);
  CHECK(future.get() == "eee");
}

TEST_CASE("Runner: a TPM that fails is asked again") {
  const TestCa ca;
  const TestCertificate certificate = ca.IssueServer();
  FakeVerifier verifier(certificate, [&](FakeVerifier::Stream& stream) {
    Round round;
    PlayRound(stream, certificate, round);
  });
  Agent agent({verifier.address()}, ca.pem());
  agent.quoter.SetError(absl::UnavailableError("TPM_RC_RETRY"));
  agent.Start();
  CHECK(agent.WaitForLog("the TPM did not quote"));
  agent.quoter.SetError(absl::OkStatus());
  CHECK(agent.WaitForLog("the verdict is TRUSTED"));
  agent.Stop();
}

TEST_CASE("Runner: options that could never work") {
  const TestCa ca;
  MemoryList list;
  FakeQuoter quoter;
  RunnerOptions options{.verifiers = {"localhost:1"},
                        .channel = {.root_certificates = ca.pem()},
                        .attester = {.agent_id = *AgentId::Parse(kId)}};
  SECTION("no verifier") { options.verifiers.clear(); }
  SECTION("no roots") { options.channel.root_certificates.clear(); }
  CHECK_THAT(StatusOf(Runner::Create(options, quoter, list)),
             StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace cupel::agent
