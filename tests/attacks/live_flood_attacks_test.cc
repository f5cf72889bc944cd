// Attacks on a running verifier's strength: floods, slow peers, sizes. Each
// begins with an agent that it trusts, and which it has to go on serving.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/util/bytes.h"
#include "tests/attacks/live_scene.h"
#include "tests/support/status_matchers.h"
#include "tests/support/tcp_relay.h"

namespace cupel::testing {
namespace {

using ::cupel::verifier::AgentState;

// Says that it is the victim, whatever it is.
Tampering AsVictim(const LiveScene& scene) {
  return {.hello = [id = scene.victim.id()](v1::Hello& hello) {
    hello.set_agent_id(std::string(AsText(id.bytes())));
  }};
}

TEST_CASE("A15: a flood of streams that prove nothing") {
  LiveScene scene({.configure = [](auto& config) {
    config.max_unproven_per_address = 8;
    config.unproven_timeout = absl::Milliseconds(700);
  }});
  FakeTpmMachine flooder(scene.deployment.vendor, 2);
  scene.Enroll(flooder);
  scene.Add(flooder);
  std::vector<std::unique_ptr<HostileStream>> streams;
  std::vector<HostileStream*> kept;
  streams.reserve(40);
  for (int i = 0; i < 40; ++i) {
    streams.push_back(
        std::make_unique<HostileStream>(scene.verifier.Attest(), flooder));
  }
  // One after another says Hello, and then nothing. Of those that are there at
  // once eight are heard; the others are turned away before they say anything.
  for (const auto& stream : streams) {
    stream->SendHello();
    if (stream->AwaitChallenge().has_value()) {
      kept.push_back(stream.get());
      continue;
    }
    CHECK_THAT(stream->Outcome(), Catch::StartsWith("ended: RESOURCE") ||
                                      Catch::StartsWith("refused: "));
  }
  CHECK(kept.size() >= 1);
  CHECK(kept.size() <= 8);
  // The victim's is not one of them, and nothing happens to it.
  scene.CheckUnchanged();
  scene.CheckVictimLives();
  // They are closed by themselves, and make room.
  for (HostileStream* stream : kept) {
    CHECK(stream->Outcome() == "refused: no quote in time");
  }
  scene.stream = scene.Connect();
  CHECK(scene.stream->Attest() == "TRUSTED");
}

TEST_CASE("A15: streams that say nothing at all") {
  LiveScene scene({.configure = [](auto& config) {
    config.unproven_timeout = absl::Milliseconds(300);
  }});
  const auto stream = scene.Connect();
  CHECK(stream->Outcome() == "refused: no Hello");
  scene.CheckUnchanged();
  scene.CheckVictimLives();
}

TEST_CASE("A15: streams that say they are somebody else's agent") {
  LiveScene scene;
  FakeTpmMachine liar(scene.deployment.vendor, 2);
  std::vector<std::unique_ptr<HostileStream>> liars;
  for (int i = 0; i < 4; ++i) {
    liars.push_back(std::make_unique<HostileStream>(scene.verifier.Attest(),
                                                    liar, AsVictim(scene)));
    REQUIRE(liars.back()->SendHello());
    REQUIRE(liars.back()->AwaitChallenge().has_value());
  }
  // More of them from that address are not heard.
  HostileStream fifth(scene.verifier.Attest(), liar, AsVictim(scene));
  CHECK_THAT(fifth.Attest(), StartsWith("refused: too many streams"));
  scene.CheckUnchanged();
  scene.CheckVictimLives();
  // The victim is, when it comes back from its own.
  scene.HangUp();
  const TcpRelay relay(scene.verifier.addresses().attest,
                       {.source = "127.0.0.2"});
  HostileStream back(scene.deployment.AttestChannel(relay.address()),
                     scene.victim);
  CHECK(back.Attest() == "TRUSTED");
}

TEST_CASE("A15: connections that come to nothing") {
  LiveScene scene({.configure = [](auto& config) {
    config.unproven_timeout = absl::Milliseconds(500);
  }});
  const std::string target = scene.verifier.addresses().attest;
  std::vector<std::unique_ptr<RawConnection>> connections;
  connections.reserve(100);
  for (int i = 0; i < 100; ++i) {
    connections.push_back(std::make_unique<RawConnection>(target));
  }
  // The beginning of a handshake, and a byte now and then.
  const std::string hello("\x16\x03\x01\x02\x00\x01", 6);
  for (size_t i = 0; i < connections.size(); i += 2) {
    connections[i]->Write(hello.substr(0, i % 6));
  }
  scene.CheckVictimLives();
  for (const auto& connection : connections) CHECK(connection->AwaitClose());
  // Those for operators are no different.
  RawConnection fleet(scene.verifier.addresses().fleet);
  CHECK(fleet.AwaitClose());
  scene.CheckVictimLives();
}

TEST_CASE("A15: calls that stop in the middle") {
  LiveScene scene;
  FakeTpmMachine machine(scene.deployment.vendor, 2);
  // In the handshake, or in what follows.
  std::vector<std::unique_ptr<TcpRelay>> relays;
  std::vector<std::thread> callers;
  for (size_t size = 100; size < 2500; size += 300) {
    relays.push_back(std::make_unique<TcpRelay>(
        scene.verifier.addresses().attest, TcpRelayOptions{.max_size = size}));
    callers.emplace_back(
        [channel = scene.deployment.AttestChannel(relays.back()->address()),
         own = machine]() mutable { HostileStream(channel, own).Attest(); });
  }
  scene.CheckUnchanged();
  scene.CheckVictimLives();
  CHECK_THAT(StatusOf(EnrollHeld(scene.verifier.Attest(), machine)), IsOk());
  relays.clear();
  for (std::thread& caller : callers) caller.join();
}

TEST_CASE("A15: a list that comes a byte at a time, or not at all") {
  LiveScene scene({.configure = [](auto& config) {
    config.list_timeout = absl::Milliseconds(600);
  }});
  const auto challenge = scene.stream->AwaitChallenge();
  REQUIRE(challenge.has_value());
  REQUIRE(scene.stream->SendQuote(*challenge));
  scene.victim.machine.Run("/usr/bin/sh");
  SECTION("not at all") {}
  SECTION("a byte at a time") {
    // The verifier is asked whether it has had enough by what it says.
    for (const uint8_t byte : scene.stream->RestOfList()) {
      if (!scene.stream->SendChunk({byte}, /*last=*/false)) break;
    }
  }
  CHECK(scene.stream->Outcome() == "refused: the list took too long");
  scene.CheckUnchanged();
  scene.stream = scene.Connect();
  CHECK(scene.stream->Attest() == "TRUSTED");
}

TEST_CASE("A15: a list over the limit, judged or not") {
  LiveScene scene({.configure = [](auto& config) {
    config.max_list_size = uint64_t{2} << 20;
  }});
  const auto challenge = scene.stream->AwaitChallenge();
  REQUIRE(challenge.has_value());
  // After a restart of the TPM the rest of the list is of no use, and taken all
  // the same.
  if (GENERATE(false, true)) {
    ++scene.victim.machine.tpm.clock_info.restart_count;
  }
  REQUIRE(scene.stream->SendQuote(*challenge));
  const std::vector<uint8_t> piece(64 << 10);
  for (int i = 0; i < 33; ++i) scene.stream->SendChunk(piece, false);
  CHECK_THAT(scene.stream->Outcome(), StartsWith("refused: a list of more"));
  scene.CheckUnchanged();
}

TEST_CASE("A15: messages over the limit") {
  LiveScene scene;
  SECTION("a piece of more than 64 KiB") {
    const auto challenge = scene.stream->AwaitChallenge();
    REQUIRE(challenge.has_value());
    REQUIRE(scene.stream->SendQuote(*challenge));
    scene.stream->SendChunk(std::vector<uint8_t>((64 << 10) + 1), false);
    CHECK_THAT(scene.stream->Outcome(), StartsWith("refused: chunk"));
  }
  SECTION("a message of 256 KiB") {
    scene.stream->SendChunk(std::vector<uint8_t>(256 << 10), false);
    CHECK(scene.stream->Outcome() == "ended: RESOURCE_EXHAUSTED");
  }
  SECTION("a message of 256 KiB on a stream that has proven nothing") {
    const auto stream = scene.Connect();
    stream->SendChunk(std::vector<uint8_t>(256 << 10), false);
    CHECK(stream->Outcome() == "ended: RESOURCE_EXHAUSTED");
  }
  scene.CheckUnchanged();
  scene.stream = scene.Connect();
  CHECK(scene.stream->Attest() == "TRUSTED");
}

TEST_CASE("A15: a hundred thousand entries at once") {
  LiveScene scene;
  FakeMachine& machine = scene.victim.machine;
  for (int i = 0; i < 100'000; ++i) machine.Run("/usr/bin/sh");
  CHECK(scene.stream->Round() == "TRUSTED");
  CHECK(scene.Record().progress.entry_count == 100'004);
}

TEST_CASE("A40: one tenant's policies are bounded") {
  LiveScene scene(
      {.configure = [](auto& config) { config.max_policy_size = 64 << 10; }});
  Operator other = scene.verifier.As("pki/other");
  const std::string large(70 << 10, '\n');
  CHECK(other.PutPolicy("large", large, true).error_code() ==
        grpc::StatusCode::RESOURCE_EXHAUSTED);
  // However little of it is announced.
  CallContext context;
  v1::PutPolicyReply reply;
  const auto writer = other.policies->Put(&context, &reply);
  v1::PutPolicyRequest request;
  request.set_name("large");
  request.set_create(true);
  request.set_size(10);
  writer->Write(request);
  request.Clear();
  request.set_data(std::string(30 << 10, '\n'));
  for (int i = 0; i < 10 && writer->Write(request); ++i) {
  }
  writer->WritesDone();
  CHECK_FALSE(writer->Finish().ok());
  std::string file;
  CHECK(other.GetPolicy("large", file).error_code() ==
        grpc::StatusCode::NOT_FOUND);
  scene.CheckUnchanged();
}

// A watch, from the present on.
struct Watch {
  explicit Watch(Operator& who) {
    v1::WatchRequest request;
    request.set_with_present(true);
    stream = who.fleet->Watch(&context, request);
  }
  // Of the tenant's agents, of which there has to be one.
  bool HasBegun() {
    v1::Event event;
    return stream->Read(&event);
  }
  CallContext context;
  std::unique_ptr<grpc::ClientReader<v1::Event>> stream;
};

TEST_CASE("A40: one tenant at its quotas hinders no other") {
  LiveScene scene({.configure = [](auto& config) {
    config.max_agents_per_tenant = 2;
    config.max_policies_per_tenant = 2;
    config.max_attest_now_per_tenant = 1;
    config.max_enrollment_tokens_per_tenant = 1;
    config.max_allowed_eks_per_tenant = 1;
    config.max_watches_per_tenant = 1;
  }});
  Operator other = scene.verifier.As("pki/other");
  const auto add = [](Operator& who, char digit) {
    v1::AddAgentRequest request;
    request.set_agent_id(
        absl::StrCat("d432fbb3-d2f1-4a97-9ef7-", std::string(12, digit)));
    request.set_ek_sha256(std::string(64, digit));
    return who.Call(&v1::Fleet::Stub::AddAgent, request);
  };
  const auto refused = [](const grpc::Status& status, const char* option) {
    INFO(status.error_message());
    CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
    CHECK(absl::StrContains(status.error_message(), option));
  };
  const std::string file = std::string(64, 'a') + "  /bin/true\n";
  CHECK(add(other, '1').ok());
  CHECK(add(other, '2').ok());
  refused(add(other, '3'), "max_agents_per_tenant");
  CHECK(other.PutPolicy("one", file, true).ok());
  CHECK(other.PutPolicy("two", file, true).ok());
  refused(other.PutPolicy("three", file, true), "max_policies_per_tenant");
  v1::AttestNowRequest attest;
  attest.set_agent_id("d432fbb3-d2f1-4a97-9ef7-111111111111");
  grpc::Status attested;
  do {
    attested = other.Call(&v1::Fleet::Stub::AttestNow, attest);
  } while (attested.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  refused(attested, "max_attest_now_per_tenant");
  const auto create_token = [](Operator& who) {
    return who.Call(&v1::Fleet::Stub::CreateToken, v1::CreateTokenRequest());
  };
  CHECK(create_token(other).ok());
  refused(create_token(other), "max_enrollment_tokens_per_tenant");
  const auto allow = [](Operator& who, char digit) {
    v1::AllowEksRequest request;
    request.add_ek_sha256(std::string(64, digit));
    return who.Call(&v1::Fleet::Stub::AllowEks, request);
  };
  CHECK(allow(other, '1').ok());
  refused(allow(other, '2'), "max_allowed_eks_per_tenant");
  Watch first(other);
  CHECK(first.HasBegun());
  {
    Watch second(other);
    CHECK_FALSE(second.HasBegun());
    refused(second.stream->Finish(), "max_watches_per_tenant");
  }

  // The victim's tenant has one agent and one policy, and room for more.
  scene.CheckUnchanged();
  Operator own = scene.verifier.As();
  attest.set_agent_id(scene.victim.id().ToString());
  CHECK(own.Call(&v1::Fleet::Stub::AttestNow, attest).ok());
  CHECK(scene.stream->Round() == "TRUSTED");
  CHECK(own.PutPolicy("more", file, true).ok());
  CHECK(add(own, '4').ok());
  CHECK(create_token(own).ok());
  CHECK(allow(own, '1').ok());
  Watch own_watch(own);
  CHECK(own_watch.HasBegun());
  // And one that has ended makes room.
  first.context.TryCancel();
  Await([&] {
    Watch again(other);
    return again.HasBegun();
  });
  scene.CheckVictimLives();
}

TEST_CASE("A40: one tenant's calls don't keep the others waiting") {
  LiveScene scene;
  // Calls that wait for ever: policies that are begun and not ended, and
  // watches that nobody reads.
  struct Waiting {
    explicit Waiting(Operator who) : other(std::move(who)) {
      put = other.policies->Put(&put_context, &reply);
      v1::PutPolicyRequest request;
      request.set_name("never");
      request.set_size(1000);
      put->Write(request);
      watch = other.fleet->Watch(&watch_context, v1::WatchRequest());
    }
    ~Waiting() {
      put_context.TryCancel();
      watch_context.TryCancel();
    }
    Operator other;
    CallContext put_context;
    CallContext watch_context;
    v1::PutPolicyReply reply;
    std::unique_ptr<grpc::ClientWriter<v1::PutPolicyRequest>> put;
    std::unique_ptr<grpc::ClientReader<v1::Event>> watch;
  };
  std::vector<std::unique_ptr<Waiting>> waiting;
  waiting.reserve(20);
  for (int i = 0; i < 20; ++i) {
    waiting.push_back(
        std::make_unique<Waiting>(scene.verifier.As("pki/other")));
  }
  CHECK(scene.Shown().state() == v1::STATE_TRUSTED);
  scene.UpdatePolicy(scene.victim);
  CHECK_THAT(scene.stream->Settle(), StartsWith("TRUSTED"));
}

TEST_CASE("A40: a policy that takes long to load keeps nobody waiting") {
  // The other tenant's policy is on its way for as long as the test lasts; more
  // machines wait for it than there are threads for their messages.
  absl::Notification loading;
  absl::Notification done;
  std::atomic<int> loads = 0;
  std::atomic<bool> is_slow = false;
  LiveScene scene({.configure = [](auto& config) { config.worker_threads = 1; },
                   .before_store_call =
                       [&](absl::string_view call) {
                         if (call == "GetPolicy" && is_slow.exchange(false)) {
                           loading.Notify();
                           done.WaitForNotificationWithTimeout(
                               absl::Seconds(60));
                         }
                         if (call == "GetPolicy") ++loads;
                         return absl::OkStatus();
                       }});
  std::vector<std::unique_ptr<FakeTpmMachine>> machines;
  for (const int number : {2, 3, 4}) {
    machines.push_back(
        std::make_unique<FakeTpmMachine>(scene.deployment.vendor, number));
    scene.Enroll(*machines.back());
    scene.Add(*machines.back(), "pki/other");
  }
  const std::string name = PolicyNameOf(*machines[0]);
  for (const auto& machine : machines) {
    v1::UpdateAgentRequest update;
    update.mutable_selector()->set_agent_id(machine->id().ToString());
    update.mutable_settings()->add_policies(name);
    update.add_changed("policies");
    REQUIRE(scene.verifier.As("pki/other")
                .Call(&v1::Fleet::Stub::UpdateAgents, update)
                .ok());
  }
  loads = 0;
  is_slow = true;
  std::vector<std::unique_ptr<HostileStream>> waiting;
  for (const auto& machine : machines) {
    waiting.push_back(
        std::make_unique<HostileStream>(scene.verifier.Attest(), *machine));
    REQUIRE(waiting.back()->SendHello());
    const auto challenge = waiting.back()->AwaitChallenge();
    REQUIRE(challenge.has_value());
    REQUIRE(waiting.back()->SendQuote(*challenge));
  }
  REQUIRE(loading.WaitForNotificationWithTimeout(absl::Seconds(20)));
  scene.victim.machine.Run("/usr/bin/sh");
  CHECK(scene.stream->Round() == "TRUSTED");
  scene.victim.machine.policy.digests["/tmp/more"] = {FileDigestOf("more")};
  // A policy that is new and small comes in meanwhile.
  scene.UpdatePolicy(scene.victim);
  CHECK(scene.stream->Settle() == "TRUSTED");
  CHECK(loads == 1);
  done.Notify();
  for (const auto& stream : waiting) {
    REQUIRE(stream->AwaitListRequest());
    REQUIRE(stream->SendList());
    CHECK(stream->Outcome() == "TRUSTED");
  }
  CHECK(loads == 2);
}

TEST_CASE(
    "A15: a list within its quote waits for the policy as the quote does") {
  absl::Notification loading;
  absl::Notification done;
  std::atomic<bool> is_slow = false;
  LiveScene scene({.before_store_call = [&](absl::string_view call) {
    if (call == "GetPolicy" && is_slow.exchange(false)) {
      loading.Notify();
      done.WaitForNotificationWithTimeout(absl::Seconds(60));
    }
    return absl::OkStatus();
  }});
  scene.victim.machine.policy.digests["/tmp/more"] = {FileDigestOf("more")};
  is_slow = true;
  scene.UpdatePolicy(scene.victim);
  const auto challenge = scene.stream->AwaitChallenge();
  REQUIRE(challenge.has_value());
  v1::AgentMessage message;
  *message.mutable_quote() = scene.stream->MakeQuote(*challenge);
  const std::vector<uint8_t> rest = scene.stream->RestOfList();
  v1::ListChunk& list = *message.mutable_quote()->mutable_list();
  list.set_data(rest.data(), rest.size());
  list.set_last(true);
  REQUIRE(scene.stream->Send(message));
  REQUIRE(loading.WaitForNotificationWithTimeout(absl::Seconds(20)));
  done.Notify();
  // It was sent from where the last one ended, and another policy has to see
  // it all.
  CHECK(scene.stream->Outcome().rfind("PENDING", 0) == 0);
  CHECK(scene.stream->Settle() == "TRUSTED");
}

}  // namespace
}  // namespace cupel::testing
