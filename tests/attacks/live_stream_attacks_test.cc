// Attacks on the attestation stream of a running verifier: challenges, quotes,
// and streams that prove nothing. Each begins with an agent that it trusts.
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/tpm/binding.h"
#include "common/tpm/constants.h"
#include "common/util/bytes.h"
#include "common/util/hex.h"
#include "tests/attacks/live_scene.h"
#include "tests/support/status_matchers.h"

namespace cupel::testing {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::verifier::AgentState;

// A way to answer wrongly, and the beginning of what the verifier says to it.
struct Case {
  const char* what;
  Tampering tampering;
  const char* outcome;
};

// Each of `cases` on a stream of its own, which has to be the victim's as good
// as its own one, were it not for the one thing.
void CheckRefused(LiveScene& scene, const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    INFO(one.what);
    const auto stream = scene.Connect(one.tampering);
    CHECK_THAT(Told(scene.verifier, [&] { return stream->Attest(); }),
               StartsWith(one.outcome));
    CHECK_FALSE(stream->proven());
    scene.CheckUnchanged();
  }
  scene.CheckVictimLives();
}

std::vector<uint8_t> Sha256(std::span<const uint8_t> bytes) {
  return ToVector(crypto::Hash(HashAlgorithm::kSha256, bytes).bytes());
}

TEST_CASE("A1: a quote for another challenge, agent or verifier") {
  LiveScene scene;
  constexpr char kNoChallenge[] =
      "refused: the quote answers no open challenge";
  constexpr char kNonce[] = "refused: quote.nonce";
  CheckRefused(
      scene,
      {{"a nonce that nobody sent",
        {.quote_inputs = [](auto& inputs) { inputs.nonce[0] ^= 1; },
         .quote = [](auto& quote) { (*quote.mutable_nonce())[0] ^= 1; }},
        kNoChallenge},
       {"no nonce",
        {.quote = [](auto& quote) { quote.clear_nonce(); }},
        kNoChallenge},
       {"the nonce, and a byte",
        {.quote = [](auto& quote) { quote.mutable_nonce()->push_back(0); }},
        kNoChallenge},
       {"the right nonce beside a quote for another one",
        {.quote_inputs = [](auto& inputs) { inputs.nonce[31] ^= 1; }},
        kNonce},
       {"another verifier's certificate",
        {.quote_inputs =
             [](auto& inputs) { inputs.certificate_sha256[0] ^= 1; }},
        kNonce},
       {"another agent's id in the quote",
        {.quote_inputs = [](auto& inputs) { inputs.agent_id = TestAgent(2); }},
        kNonce}});
}

TEST_CASE("A16: a list that comes with a stream's first quote") {
  LiveScene scene;
  const std::string list = std::string(AsText(scene.stream->RestOfList()));
  CheckRefused(scene, {{"its list, whole",
                        {.quote =
                             [&](auto& quote) {
                               quote.mutable_list()->set_data(list);
                               quote.mutable_list()->set_last(true);
                             }},
                        "refused: a list with a first quote"},
                       {"a piece of nothing",
                        {.quote = [](auto& quote) { quote.mutable_list(); }},
                        "refused: a list with a first quote"}});
}

TEST_CASE("A1: a nonce in another encoding") {
  LiveScene scene;
  constexpr char kNonce[] = "refused: quote.nonce";
  const auto with = [](auto make) {
    return Tampering{.quote_inputs = [make](QuoteInputs& inputs) {
      inputs.qualifying_data = make(inputs);
    }};
  };
  CheckRefused(
      scene,
      {{"the bare nonce", with([](const QuoteInputs& in) { return in.nonce; }),
        kNonce},
       {"its hash",
        with([](const QuoteInputs& in) { return Sha256(in.nonce); }), kNonce},
       {"the parts without their sizes", with([](const QuoteInputs& in) {
          std::vector<uint8_t> parts = ToVector(AsBytes("cupel-quote-v1"));
          Append(parts, in.nonce);
          Append(parts, in.agent_id.bytes());
          Append(parts, in.certificate_sha256);
          return Sha256(parts);
        }),
        kNonce},
       {"without the label", with([](const QuoteInputs& in) {
          return Sha256(tpm::LengthPrefixed(
              {in.nonce, in.agent_id.bytes(), in.certificate_sha256}));
        }),
        kNonce},
       {"the id as text", with([](const QuoteInputs& in) {
          const std::string id = in.agent_id.ToString();
          return Sha256(
              tpm::LengthPrefixed({AsBytes("cupel-quote-v1"), in.nonce,
                                   AsBytes(id), in.certificate_sha256}));
        }),
        kNonce},
       {"in hex", with([](const QuoteInputs& in) {
          return ToVector(AsBytes(HexEncode(in.nonce).substr(0, 32)));
        }),
        kNonce},
       {"nothing",
        with([](const QuoteInputs&) { return std::vector<uint8_t>(); }),
        kNonce}});
}

TEST_CASE("A1: a quote a second time, on its stream or on another") {
  LiveScene scene;
  const auto challenge = scene.stream->AwaitChallenge();
  REQUIRE(challenge.has_value());
  v1::AgentMessage message;
  *message.mutable_quote() = scene.stream->MakeQuote(*challenge);
  SECTION("on another, while its own is open") {
    const auto second = scene.Connect();
    REQUIRE(second->SendHello());
    REQUIRE(second->AwaitChallenge().has_value());
    REQUIRE(second->Send(message));
    CHECK_THAT(second->Outcome(), StartsWith("refused: the quote answers no"));
    scene.CheckUnchanged();
  }
  SECTION("on its own") {
    REQUIRE(scene.stream->Send(message));
    REQUIRE(scene.stream->SendList());
    REQUIRE(scene.stream->Outcome() == "TRUSTED");
    REQUIRE(scene.stream->AwaitChallenge().has_value());
    scene.Remember();
    REQUIRE(scene.stream->Send(message));
    CHECK_THAT(scene.stream->Outcome(),
               StartsWith("refused: the quote answers no"));
    scene.CheckUnchanged();
  }
}

TEST_CASE("A1: a challenge that is passed on between two agents") {
  LiveScene scene;
  FakeTpmMachine thief(scene.deployment.vendor, 2);
  scene.Enroll(thief);
  scene.Add(thief);
  HostileStream own(scene.verifier.Attest(), thief);
  REQUIRE(own.Attest() == "TRUSTED");
  const std::string thief_before = Describe(scene.verifier.Record(thief.id()));

  SECTION("the victim's, answered by the thief's TPM") {
    // It says that it is the victim, and everything else is its own.
    HostileStream relay(
        scene.verifier.Attest(), thief,
        {.hello =
             [&](auto& hello) {
               hello.set_agent_id(
                   std::string(AsText(scene.victim.id().bytes())));
             },
         .quote_inputs =
             [&](auto& inputs) { inputs.agent_id = scene.victim.id(); }});
    CHECK_THAT(Told(scene.verifier, [&] { return relay.Attest(); }),
               StartsWith("refused: quote.signature"));
  }
  SECTION("the thief's, answered by the victim's TPM") {
    const auto challenge = own.AwaitChallenge();
    REQUIRE(challenge.has_value());
    v1::AgentMessage message;
    // As the victim quotes, for itself and for the thief's id.
    const bool in_thiefs_name = GENERATE(false, true);
    HostileStream victims(scene.verifier.Attest(), scene.victim,
                          {.quote_inputs = [&](auto& inputs) {
                            if (in_thiefs_name) inputs.agent_id = thief.id();
                          }});
    *message.mutable_quote() = victims.MakeQuote(*challenge);
    CHECK_THAT(Told(scene.verifier,
                    [&] {
                      REQUIRE(own.Send(message));
                      return own.Outcome();
                    }),
               StartsWith("refused: quote."));
    CHECK(Describe(scene.verifier.Record(thief.id())) == thief_before);
  }
  scene.CheckUnchanged();
  scene.CheckVictimLives();
}

TEST_CASE("A2: a key that did not come from enrolment signs") {
  LiveScene scene;
  FakeTpmMachine other = scene.victim;  // all but its AK
  other.RenewAk();
  HostileStream stream(scene.verifier.Attest(), other);
  CHECK_THAT(Told(scene.verifier, [&] { return stream.Attest(); }),
             StartsWith("refused: quote.signature"));
  scene.CheckUnchanged();
  scene.CheckVictimLives();
}

TEST_CASE("A6: something else than a quote, signed by the right key") {
  LiveScene scene;
  const std::vector<std::pair<std::function<void(tpm::Attest&)>, const char*>>
      changes = {
          {[](auto& attest) { attest.magic ^= 1; }, "refused: quote.magic"},
          {[](auto& attest) {
             attest.type = tpm::StructureTag::kAttestCertify;
           },
           "refused: quote.type"},
          {[](auto& attest) { attest.quote.pcr_digest.push_back(0); },
           "refused: quote.pcr_digest"},
          {[](auto& attest) { attest.extra_data.push_back(0); },
           "refused: quote.nonce"},
      };
  for (const auto& [change, outcome] : changes) {
    INFO(outcome);
    scene.victim.on_attest = change;
    const auto stream = scene.Connect();
    CHECK_THAT(Told(scene.verifier, [&] { return stream->Attest(); }),
               StartsWith(outcome));
    scene.CheckUnchanged();
  }
  scene.victim.on_attest = {};
  scene.CheckVictimLives();
}

TEST_CASE("A6: bytes that trail, or are missing") {
  LiveScene scene;
  CheckRefused(
      scene,
      {{"behind the quote",
        {.quote = [](auto& quote) { quote.mutable_attest()->push_back(0); }},
        "refused: "},
       {"behind the signature",
        {.quote = [](auto& quote) { quote.mutable_signature()->push_back(0); }},
        "refused: "},
       {"of the quote",
        {.quote = [](auto& quote) { quote.mutable_attest()->pop_back(); }},
        "refused: "},
       {"of the signature",
        {.quote = [](auto& quote) { quote.mutable_signature()->pop_back(); }},
        "refused: "},
       {"all of them",
        {.quote =
             [](auto& quote) {
               quote.clear_attest();
               quote.clear_signature();
             }},
        "refused: "}});
}

TEST_CASE("A7: another selection than the one that was asked for") {
  LiveScene scene({.banks = {HashAlgorithm::kSha256, HashAlgorithm::kSha1}});
  const auto select = [](const char* text) {
    return Tampering{.quote_inputs = [text](QuoteInputs& inputs) {
      inputs.selection = *tpm::PcrSelection::FromString(text);
    }};
  };
  constexpr char kSelection[] = "refused: quote.selection";
  CheckRefused(
      scene,
      {{"fewer", select("sha256:10"), kSelection},
       {"without one", select("sha256:0,1,2,3,4,5,6,7,8,10"), kSelection},
       {"more", select("sha256:0,1,2,3,4,5,6,7,8,9,10,11"), kSelection},
       {"another bank", select("sha1:0,1,2,3,4,5,6,7,8,9,10"), kSelection},
       {"another bank beside it",
        select("sha1:10+sha256:0,1,2,3,4,5,6,7,8,9,10"), kSelection},
       {"a bank that the TPM does not have",
        select("sha512:0,1,2,3,4,5,6,7,8,9,10"), kSelection}});
}

TEST_CASE("A7: other values than those that were signed") {
  LiveScene scene;
  constexpr char kDigest[] = "refused: quote.pcr_digest";
  CheckRefused(
      scene,
      {{"one changed",
        {.quote =
             [](auto& quote) {
               (*quote.mutable_pcrs(4)->mutable_value())[0] ^= 1;
             }},
        kDigest},
       {"one left out",
        {.quote = [](auto& quote) { quote.mutable_pcrs()->RemoveLast(); }},
        kDigest},
       {"one twice",
        {.quote = [](auto& quote) { *quote.add_pcrs() = quote.pcrs(0); }},
        "refused: "},
       {"one of a PCR that there is not",
        {.quote = [](auto& quote) { quote.mutable_pcrs(0)->set_pcr(24); }},
        "refused: "},
       {"one of another size",
        {.quote =
             [](auto& quote) {
               quote.mutable_pcrs(0)->mutable_value()->pop_back();
             }},
        "refused: "},
       {"all left out",
        {.quote = [](auto& quote) { quote.clear_pcrs(); }},
        kDigest}});
}

TEST_CASE("A16: garbage on a stream that has proven nothing") {
  LiveScene scene;
  const std::vector<uint8_t> list = scene.victim.List();
  const auto chunk = [&] {
    v1::AgentMessage message;
    message.mutable_chunk()->set_data(std::string(AsText(list)));
    message.mutable_chunk()->set_last(true);
    return message;
  };
  const auto quote = [](size_t size) {
    v1::AgentMessage message;
    message.mutable_quote()->set_attest(std::string(size, 'x'));
    return message;
  };
  struct Garbage {
    const char* what;
    bool hello;
    v1::AgentMessage message;
  };
  v1::AgentMessage hello;
  hello.mutable_hello()->set_agent_id(
      std::string(AsText(scene.victim.id().bytes())));
  hello.mutable_hello()->set_protocol_version(1);
  v1::AgentMessage long_id = hello;
  long_id.mutable_hello()->mutable_agent_id()->push_back(0);
  v1::AgentMessage other_version = hello;
  other_version.mutable_hello()->set_protocol_version(2);
  v1::AgentMessage long_version = hello;
  long_version.mutable_hello()->set_agent_version(std::string(100 << 10, 'v'));
  for (const Garbage& garbage : std::vector<Garbage>{
           {"a message of no kind", false, v1::AgentMessage()},
           {"an id of the wrong size", false, long_id},
           {"another protocol", false, other_version},
           {"a version of 100 KiB", false, long_version},
           {"a quote before Hello", false, quote(100)},
           {"a list before Hello", false, chunk()},
           {"Hello twice", true, hello},
           {"a list before the quote", true, chunk()},
           {"a quote of noise", true, quote(100)},
           {"an empty quote", true, quote(0)},
           {"a quote of more than 16 KiB", true, quote(16 << 10)},
           {"a message of no kind after Hello", true, v1::AgentMessage()}}) {
    INFO(garbage.what);
    const auto stream = scene.Connect();
    if (garbage.hello) {
      REQUIRE(stream->SendHello());
      REQUIRE(stream->AwaitChallenge().has_value());
    }
    REQUIRE(stream->Send(garbage.message));
    CHECK_THAT(stream->Outcome(), StartsWith("refused: "));
    // And the stream has ended.
    CHECK(stream->Outcome() == "ended: OK");
    scene.CheckUnchanged();
  }
  CHECK(absl::StrContains(scene.verifier.log(), "stream refused"));
  scene.CheckVictimLives();
}

TEST_CASE("A16: hanging up at any point") {
  LiveScene scene;
  for (const int step : {0, 1, 2}) {
    INFO(step);
    const auto stream = scene.Connect();
    if (step >= 1) REQUIRE(stream->SendHello());
    if (step >= 2) REQUIRE(stream->AwaitChallenge().has_value());
    const bool in_order = GENERATE(false, true);
    if (in_order) {
      stream->HalfClose();
    } else {
      stream->HangUp();
    }
    CHECK_THAT(stream->Outcome(), StartsWith("ended: "));
    scene.CheckUnchanged();
  }
  scene.CheckVictimLives();
}

TEST_CASE("A24: an AK that is not the EK's child") {
  LiveScene scene;
  const FakeTpmMachine other(scene.deployment.vendor, 2);
  SECTION("under another EK") {
    scene.victim.on_attest = [&](tpm::Attest& attest) {
      attest.qualified_signer = *tpm::QualifiedName(
          *tpm::EkQualifiedName(other.machine.tpm.ek_name()),
          scene.victim.machine.tpm.ak().Name());
    };
  }
  SECTION("in the owner hierarchy") {
    // H(handle | EK's Name) with another handle than the endorsement's.
    scene.victim.on_attest = [&](tpm::Attest& attest) {
      std::vector<uint8_t> data = {0x40, 0, 0, 0x01};
      Append(data, scene.victim.machine.tpm.ek_name());
      std::vector<uint8_t> parent = {0, 0x0b};
      Append(parent, Sha256(data));
      attest.qualified_signer =
          *tpm::QualifiedName(parent, scene.victim.machine.tpm.ak().Name());
    };
  }
  SECTION("the AK's Name itself") {
    scene.victim.on_attest = [&](tpm::Attest& attest) {
      attest.qualified_signer = scene.victim.machine.tpm.ak().Name();
    };
  }
  SECTION("nothing") {
    scene.victim.on_attest = [](tpm::Attest& attest) {
      attest.qualified_signer.clear();
    };
  }
  const auto stream = scene.Connect();
  CHECK_THAT(Told(scene.verifier, [&] { return stream->Attest(); }),
             StartsWith("refused: quote.signer"));
  scene.CheckUnchanged();
  scene.victim.on_attest = {};
  scene.CheckVictimLives();
}

TEST_CASE("A25: a bank that is not allocated") {
  LiveScene scene;
  // It says that it has a stronger bank, for which its TPM would sign an empty
  // selection: it is asked for the bank that every kernel fills.
  const auto stream =
      scene.Connect({.hello = [](auto& hello) { hello.add_banks("sha512"); }});
  REQUIRE(stream->SendHello());
  const auto challenge = stream->AwaitChallenge();
  REQUIRE(challenge.has_value());
  for (const auto& bank : challenge->selection.banks()) {
    CHECK(bank.bank == HashAlgorithm::kSha256);
  }
  scene.CheckUnchanged();
  scene.CheckVictimLives();
}

TEST_CASE("A7: a machine whose TPM has SHA-1 alone") {
  LiveScene scene;
  FakeTpmMachine old(scene.deployment.vendor, 2, {HashAlgorithm::kSha1});
  scene.Enroll(old);
  scene.Add(old);
  HostileStream stream(scene.verifier.Attest(), old);
  REQUIRE(stream.SendHello());
  const auto challenge = stream.AwaitChallenge();
  REQUIRE(challenge.has_value());
  REQUIRE(stream.SendQuote(*challenge));
  CHECK(stream.Outcome() == "PENDING");
  // Both ends are told what to do about it.
  const verifier::AgentRecord record = scene.verifier.Record(old.id());
  CHECK(record.state == AgentState::kPending);
  CHECK(absl::StrContains(record.state_reason, "tpm2_pcrallocate sha256:all"));
  CHECK(stream.verdict().reason() == record.state_reason);
  CHECK(record.attestation_count == 0);
  // To be asked again makes it no more.
  const auto next = stream.AwaitChallenge();
  REQUIRE(next.has_value());
  REQUIRE(stream.SendQuote(*next));
  CHECK(stream.Outcome() == "PENDING");
  CHECK(scene.verifier.Record(old.id()).attestation_count == 0);
  scene.CheckUnchanged();
}

TEST_CASE("A25: a bank that firmware never extended") {
  LiveScene scene;
  FakeTpmMachine bare(scene.deployment.vendor, 2);
  bare.machine.ClearBootPcrs();
  bare.machine.StartList();
  scene.Enroll(bare);
  scene.Add(bare);
  HostileStream stream(scene.verifier.Attest(), bare);
  CHECK_THAT(stream.Attest(), StartsWith("FAILED pcr.bank_not_extended"));
  CHECK(scene.verifier.Record(bare.id()).state == AgentState::kFailed);
  scene.CheckUnchanged();
}

TEST_CASE("A29: a quote that is held back") {
  LiveScene scene({.configure = [](auto& config) {
    config.interval = absl::Milliseconds(500);
    config.grace = absl::Milliseconds(500);
  }});
  const auto challenge = scene.stream->AwaitChallenge();
  REQUIRE(challenge.has_value());
  // Made early, and never sent.
  const v1::Quote quote = scene.stream->MakeQuote(*challenge);
  scene.victim.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  CHECK(scene.stream->Outcome() == "refused: no quote in time");
  scene.CheckUnchanged();
  // It is of no use on the next stream either.
  const auto second = scene.Connect();
  REQUIRE(second->SendHello());
  REQUIRE(second->AwaitChallenge().has_value());
  v1::AgentMessage message;
  *message.mutable_quote() = quote;
  REQUIRE(second->Send(message));
  CHECK_THAT(second->Outcome(), StartsWith("refused: the quote answers no"));
  scene.CheckUnchanged();
  // And trust ends by itself.
  scene.deployment.Advance(absl::Seconds(2));
  CHECK(scene.Shown().state() == v1::STATE_PENDING);
}

TEST_CASE("A29: a nonce is replaced while it is armed") {
  LiveScene scene({.configure = [](auto& config) {
    config.interval = absl::Seconds(15);
    config.fresh = absl::Milliseconds(100);
  }});
  const auto old = scene.stream->AwaitChallenge();
  REQUIRE(old.has_value());
  const v1::Quote quote = scene.stream->MakeQuote(*old);
  scene.victim.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  REQUIRE(scene.stream->AwaitChallenge().has_value());
  const auto present = scene.stream->AwaitChallenge();
  REQUIRE(present.has_value());
  CHECK(present->nonce != old->nonce);
  // No more time than at first.
  CHECK(present->answer_within < absl::Seconds(15));
  v1::AgentMessage message;
  *message.mutable_quote() = quote;
  REQUIRE(scene.stream->Send(message));
  CHECK_THAT(scene.stream->Outcome(),
             StartsWith("refused: the quote answers no"));
  scene.CheckUnchanged();
}

TEST_CASE("A29: who is asked at once and does not answer") {
  LiveScene scene({.configure = [](auto& config) {
    config.interval = absl::Milliseconds(500);
  }});
  // It says that its list goes on growing, a drip at a time.
  REQUIRE(scene.stream->AwaitChallenge().has_value());
  v1::AttestNowRequest request;
  request.set_agent_id(scene.victim.id().ToString());
  CHECK(scene.verifier.As().Call(&v1::Fleet::Stub::AttestNow, request).ok());
  const auto now = scene.stream->AwaitChallenge();
  REQUIRE(now.has_value());
  CHECK(now->now);
  CHECK(scene.stream->Outcome() == "refused: no quote in time");
  scene.CheckUnchanged();
}

TEST_CASE("A35: Hello lowers nothing") {
  LiveScene scene(
      {.banks = {HashAlgorithm::kSha256, HashAlgorithm::kSha1},
       .settings = [](auto& settings) { settings.set_allow_sha1_bank(true); }});
  const auto honest = scene.Connect();
  REQUIRE(honest->SendHello());
  const auto wanted = honest->AwaitChallenge();
  REQUIRE(wanted.has_value());
  const std::vector<std::pair<const char*, std::function<void(v1::Hello&)>>>
      changes = {
          {"no bank", [](auto& hello) { hello.clear_banks(); }},
          {"banks that nobody knows",
           [](auto& hello) {
             hello.clear_banks();
             for (int i = 0; i < 100; ++i) hello.add_banks("md5");
           }},
          {"no PCR of the list", [](auto& hello) { hello.clear_list_pcrs(); }},
          {"PCRs that there are not",
           [](auto& hello) { hello.add_list_pcrs(0xffffffff); }},
          {"no entries", [](auto& hello) { hello.set_entry_count(0); }},
          {"as many as there can be",
           [](auto& hello) { hello.set_entry_count(~uint64_t{0}); }},
          {"an old version of the agent",
           [](auto& hello) { hello.set_agent_version("0.0.1"); }},
      };
  for (const auto& [what, change] : changes) {
    INFO(what);
    const auto stream = scene.Connect({.hello = change});
    REQUIRE(stream->SendHello());
    const auto challenge = stream->AwaitChallenge();
    REQUIRE(challenge.has_value());
    CHECK(challenge->selection == wanted->selection);
    CHECK(challenge->answer_within == wanted->answer_within);
    scene.CheckUnchanged();
  }
  scene.CheckVictimLives();
}

TEST_CASE("A35: Hello lowers no bank") {
  LiveScene scene(
      {.banks = {HashAlgorithm::kSha256, HashAlgorithm::kSha1},
       .settings = [](auto& settings) { settings.set_allow_sha1_bank(true); }});
  const auto honest = scene.Connect();
  REQUIRE(honest->SendHello());
  const auto wanted = honest->AwaitChallenge();
  REQUIRE(wanted.has_value());
  const auto stream = scene.Connect({.hello = [](auto& hello) {
    hello.clear_banks();
    hello.add_banks("sha1");
  }});
  REQUIRE(stream->SendHello());
  auto challenge = stream->AwaitChallenge();
  REQUIRE(challenge.has_value());
  scene.CheckUnchanged();
  // Who has shown nothing is asked as it says. Once it has, nothing is decided
  // by that, and it is asked as its record says.
  v1::AgentMessage message;
  *message.mutable_quote() = stream->MakeQuote(*challenge);
  REQUIRE(stream->Send(message));
  // A verdict that only repeats the state comes first.
  CHECK(stream->Outcome() == "TRUSTED");
  challenge = stream->AwaitChallenge();
  REQUIRE(challenge.has_value());
  CHECK(challenge->selection == wanted->selection);
}

TEST_CASE("A35: who probes for ids hears the same of all") {
  std::mutex mutex;
  std::map<std::string, int> calls;  // guarded by mutex
  LiveScene scene({.before_store_call = [&](absl::string_view call) {
    const std::lock_guard<std::mutex> lock(mutex);
    ++calls[std::string(call)];
    return absl::OkStatus();
  }});
  // Enrolled and added by nobody; stopped; expected; deleted.
  FakeTpmMachine unadded(scene.deployment.vendor, 2);
  scene.Enroll(unadded);
  FakeTpmMachine stopped(scene.deployment.vendor, 3);
  scene.Enroll(stopped);
  scene.Add(stopped);
  FakeTpmMachine expected(scene.deployment.vendor, 4);
  scene.Add(expected);
  FakeTpmMachine deleted(scene.deployment.vendor, 5);
  scene.Enroll(deleted);
  scene.Add(deleted);
  Operator who = scene.verifier.As();
  v1::StopRequest stop;
  stop.set_agent_id(stopped.id().ToString());
  REQUIRE(who.Call(&v1::Fleet::Stub::Stop, stop).ok());
  scene.Delete(deleted);
  FakeTpmMachine unknown(scene.deployment.vendor, 6);

  std::optional<std::string> answer;
  std::map<std::string, int> work;
  for (FakeTpmMachine* machine :
       {&unknown, &unadded, &stopped, &expected, &deleted}) {
    INFO(machine->id().ToString());
    {
      const std::lock_guard<std::mutex> lock(mutex);
      calls.clear();
    }
    HostileStream stream(scene.verifier.Attest(), *machine);
    CHECK_THAT(stream.Attest(), StartsWith("refused: "));
    const std::string heard = stream.refusal().ShortDebugString();
    if (!answer.has_value()) answer = heard;
    CHECK(heard == *answer);
    // The work is the same, so the time is.
    const std::lock_guard<std::mutex> lock(mutex);
    calls.erase("ExpireVerdicts");
    calls.erase("Expire");
    if (work.empty()) work = calls;
    CHECK(calls == work);
  }
  scene.CheckUnchanged();
}

TEST_CASE("A35: enrolling tells nobody which ids there are") {
  LiveScene scene;
  FakeTpmMachine prober(scene.deployment.vendor, 2);
  std::vector<std::string> replies;
  for (const AgentId& id : {scene.victim.id(), TestAgent(40)}) {
    tpm::BeginEnrollment request = prober.enrollee().request();
    request.agent_id = ToVector(id.bytes());
    const auto begun = BeginEnrollment(scene.verifier.Attest(), request);
    REQUIRE_THAT(StatusOf(begun), IsOk());
    replies.push_back(absl::StrCat(begun->challenge.cookie.size(), " ",
                                   begun->challenge.credential_blob.size()));
  }
  CHECK(replies[0] == replies[1]);
  scene.CheckUnchanged();
}

}  // namespace
}  // namespace cupel::testing
