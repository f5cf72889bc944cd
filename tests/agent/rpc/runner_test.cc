#include "agent/rpc/runner.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <future>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "agent/rpc/enrollment_client.h"
#include "catch2/catch.hpp"
#include "common/tpm/attest.h"
#include "common/tpm/binding.h"
#include "common/util/bytes.h"
#include "tests/agent/rpc/fake_verifier.h"
#include "tests/agent/rpc/mute_server.h"
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

  void Start() { Start(quoter, list); }
  void Start(Quoter& with_quoter) { Start(with_quoter, list); }
  void Start(Quoter& with_quoter, ListSource& with_list) {
    auto runner = Runner::Create(options, with_quoter, with_list);
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
  agent.options.attester.chunk_size = 50'000;
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

TEST_CASE("Runner: a TPM's stack that throws is a TPM that fails") {
  class Throwing : public Quoter {
   public:
    absl::StatusOr<QuoteResult> Quote(std::span<const uint8_t>,
                                      const tpm::PcrSelection&) override {
      throw std::runtime_error("out of\x1b luck");
    }
  } throwing;
  const TestCa ca;
  const TestCertificate certificate = ca.IssueServer();
  FakeVerifier verifier(certificate, [&](FakeVerifier::Stream& stream) {
    Round round;
    PlayRound(stream, certificate, round);
  });
  Agent agent({verifier.address()}, ca.pem());
  agent.Start(throwing);
  CHECK(agent.WaitForLog("out of\\x1b luck"));
  agent.Stop();
}

TEST_CASE("Runner: enrols first, at one verifier after another") {
  const TestCa ca;
  const TestCertificate certificate = ca.IssueServer();
  std::atomic<int> enrolled = 0;
  std::atomic<int> too_early = 0;
  const auto play = [&](FakeVerifier::Stream& stream) {
    if (enrolled == 0) ++too_early;
    Round round;
    PlayRound(stream, certificate, round);
    Drain(stream);
  };
  FakeVerifier first(certificate, play);
  FakeVerifier second(certificate, play);
  Agent agent({first.address(), second.address()}, ca.pem());
  std::vector<std::string> asked;
  agent.options.enroll = [&](const std::string& address,
                             const std::stop_token&) -> absl::Status {
    asked.push_back(address);
    if (asked.size() < 5) return absl::UnavailableError("not today");
    ++enrolled;
    return absl::OkStatus();
  };
  agent.Start();
  CHECK(agent.WaitForLog("the verdict is TRUSTED"));
  agent.Stop();
  CHECK(agent.log().find(absl::StrCat("not enrolled at ", asked[0],
                                      ": UNAVAILABLE: not today")) !=
        std::string::npos);
  REQUIRE(asked.size() == 5);
  for (size_t i = 1; i < asked.size(); ++i) CHECK(asked[i] != asked[i - 1]);
  CHECK(too_early == 0);
  CHECK(enrolled == 1);
}

TEST_CASE("Runner: enrols again where it is refused, but not all the time") {
  const TestCa ca;
  FakeVerifier verifier(ca.IssueServer(), [&](FakeVerifier::Stream& stream) {
    v1::VerifierMessage refusal;
    refusal.mutable_refusal()->set_reason("not attested here");
    stream.Write(refusal);
    Drain(stream);
  });
  Agent agent({verifier.address()}, ca.pem());
  std::atomic<int> enrolled = 0;
  agent.options.enroll = [&](const std::string&, const std::stop_token&) {
    ++enrolled;
    return absl::OkStatus();
  };
  bool again = false;
  SECTION("after a while") {
    again = true;
    agent.options.enroll_again_after = absl::ZeroDuration();
  }
  SECTION("not before") { agent.options.enroll_again_after = absl::Hours(1); }
  agent.Start();
  for (int i = 0; i < 3000 && verifier.stream_count < 4; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  agent.Stop();
  CHECK(verifier.stream_count >= 4);
  if (again) {
    CHECK(enrolled >= 4);
  } else {
    CHECK(enrolled == 1);
  }
}

TEST_CASE("Runner: a stream that breaks is no reason to enrol again") {
  const TestCa ca;
  FakeVerifier verifier(ca.IssueServer(), [](FakeVerifier::Stream&) {});
  Agent agent({verifier.address()}, ca.pem());
  std::atomic<int> enrolled = 0;
  agent.options.enroll = [&](const std::string&, const std::stop_token&) {
    ++enrolled;
    return absl::OkStatus();
  };
  agent.options.enroll_again_after = absl::ZeroDuration();
  agent.Start();
  for (int i = 0; i < 3000 && verifier.stream_count < 4; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  agent.Stop();
  CHECK(enrolled == 1);
}

TEST_CASE("Runner: ends while it enrols") {
  const TestCa ca;
  Agent agent({"localhost:1"}, ca.pem());
  std::promise<void> enrolling;
  agent.options.enroll = [&](const std::string&, const std::stop_token& stop) {
    enrolling.set_value();
    while (!stop.stop_requested()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return absl::CancelledError("told to stop");
  };
  agent.Start();
  REQUIRE(enrolling.get_future().wait_for(kPatience) ==
          std::future_status::ready);
  agent.Stop();
  CHECK(agent.log().empty());
}

TEST_CASE("Runner: who takes the connection and says nothing is given up") {
  const TestCa ca;
  const TestCertificate certificate = ca.IssueServer();
  const MuteServer mute;
  FakeVerifier verifier(certificate, [&](FakeVerifier::Stream& stream) {
    Round round;
    PlayRound(stream, certificate, round);
    Drain(stream);
  });
  const std::string mute_address = absl::StrCat("localhost:", mute.port());
  // Whichever is the first, both are tried.
  Agent agent({mute_address, verifier.address()}, ca.pem());
  std::atomic<int> mute_count = 0;
  agent.options.channel.connect_timeout = absl::Milliseconds(200);
  agent.options.enroll = [&](const std::string& address,
                             const std::stop_token&) -> absl::Status {
    const auto client =
        EnrollmentClient::Create(address, agent.options.channel);
    if (address == mute_address) ++mute_count;
    // Long enough that it is not what ends the attempt.
    const auto begun = client->Begin({}, absl::Minutes(10));
    if (!begun.ok()) return begun.status();
    // Now that it is enrolled, the mute one has to be tried first.
    return mute_count > 0 ? absl::OkStatus() : absl::UnavailableError("later");
  };
  agent.Start();
  CHECK(agent.WaitForLog("the verdict is TRUSTED"));
  agent.Stop();
  CHECK(mute_count >= 1);
}

// A million entries that nobody stores. Threads: any.
class LongList : public ListSource {
 public:
  static constexpr uint64_t kCount = 1'000'000;
  static constexpr uint64_t kEntrySize = 100;
  static constexpr uint64_t kSize = kCount * kEntrySize;

  absl::StatusOr<uint64_t> EntryCount() override { return kCount; }
  absl::StatusOr<std::vector<uint8_t>> ReadFrom(uint64_t offset,
                                                size_t max_size) override {
    const uint64_t size =
        offset >= kSize ? 0 : std::min<uint64_t>(max_size, kSize - offset);
    read_ += size;
    largest_ = std::max<size_t>(largest_, max_size);
    return std::vector<uint8_t>(size, static_cast<uint8_t>(offset >> 16));
  }

  uint64_t read() const { return read_; }
  size_t largest() const { return largest_; }

 private:
  std::atomic<uint64_t> read_ = 0;
  std::atomic<size_t> largest_ = 0;
};

TEST_CASE("Runner: a million entries are never held, and block nothing") {
  // What may be under way: the attester's pieces, and the buffers of gRPC and
  // of two sockets.
  constexpr uint64_t kUnderWay = uint64_t{12} << 20;
  const TestCa ca;
  const TestCertificate certificate = ca.IssueServer();
  LongList list;
  std::promise<uint64_t> at_rest;
  std::promise<uint64_t> received;
  std::promise<void> go_on;
  FakeVerifier verifier(certificate, [&](FakeVerifier::Stream& stream) {
    v1::AgentMessage message;
    stream.Read(&message);
    stream.Write(Challenge(certificate, 'n'));
    stream.Read(&message);
    v1::VerifierMessage request;
    request.mutable_list_request();
    stream.Write(request);
    // Takes nothing until the agent has stopped reading.
    uint64_t before = 1;
    while (list.read() != before || before == 0) {
      before = list.read();
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
    }
    at_rest.set_value(before);
    go_on.get_future().wait();
    uint64_t size = 0;
    while (stream.Read(&message) && message.has_chunk()) {
      size += message.chunk().data().size();
      if (message.chunk().last()) break;
    }
    received.set_value(size);
    Drain(stream);
  });
  Agent agent({verifier.address()}, ca.pem());
  agent.Start(agent.quoter, list);
  auto rest = at_rest.get_future();
  REQUIRE(rest.wait_for(kPatience) == std::future_status::ready);
  CHECK(rest.get() <= kUnderWay);
  SECTION("the list arrives in full") {
    go_on.set_value();
    auto all = received.get_future();
    REQUIRE(all.wait_for(std::chrono::minutes(2)) == std::future_status::ready);
    CHECK(all.get() == LongList::kSize);
    CHECK(list.read() == LongList::kSize);
  }
  SECTION("the agent ends in the middle of it") {
    agent.Stop();
    CHECK(list.read() <= kUnderWay);
    go_on.set_value();
  }
  CHECK(list.largest() <= agent.options.attester.chunk_size);
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
