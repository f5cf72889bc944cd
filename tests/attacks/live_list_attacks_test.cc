// Attacks by what a machine tells a running verifier of its measurement list.
// Each begins with an agent that it trusts, and a quote that is genuine.
#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "tests/attacks/live_scene.h"

namespace cupel::testing {
namespace {

using ::cupel::crypto::HashAlgorithm;
using ::cupel::verifier::AgentState;

// Quotes, and sends `list` as the rest of it.
std::string RoundWith(LiveScene& scene, const std::vector<uint8_t>& list) {
  const auto challenge = scene.stream->AwaitChallenge();
  REQUIRE(challenge.has_value());
  REQUIRE(scene.stream->SendQuote(*challenge));
  REQUIRE(scene.stream->SendChunk(list, /*last=*/true));
  return scene.stream->Outcome();
}

std::vector<uint8_t> From(const std::vector<uint8_t>& list, size_t offset) {
  return {list.begin() + static_cast<std::ptrdiff_t>(offset), list.end()};
}

TEST_CASE("A8: a list that is not the rest that was asked for") {
  LiveScene scene;
  FakeMachine& machine = scene.victim.machine;
  machine.Run("/usr/bin/sh").Run("/usr/lib/libc");
  std::vector<uint8_t> rest = scene.stream->RestOfList();
  const size_t first_size =
      machine.list.offsets()[5] - machine.list.offsets()[4];
  SECTION("the last entry cut off") { rest.resize(first_size); }
  SECTION("from an entry later") { rest = From(rest, first_size); }
  SECTION("the first entry twice") {
    rest.insert(rest.begin(), rest.begin(),
                rest.begin() + static_cast<std::ptrdiff_t>(first_size));
  }
  SECTION("the entries in another order") {
    std::vector<uint8_t> turned = From(rest, first_size);
    turned.insert(turned.end(), rest.begin(),
                  rest.begin() + static_cast<std::ptrdiff_t>(first_size));
    rest = turned;
  }
  SECTION("nothing at all") { rest.clear(); }
  SECTION("all of it") { rest = machine.list.bytes(); }
  CHECK_THAT(RoundWith(scene, rest), StartsWith("FAILED ima.history_lost"));
  CHECK(scene.Findings().at(0) == "ima.history_lost");
  // What had been judged stays what it was.
  CHECK(scene.Record().progress.entry_count == 4);
}

TEST_CASE("A8: a list cut inside of a record proves nothing") {
  LiveScene scene;
  scene.victim.machine.Run("/usr/bin/sh");
  std::vector<uint8_t> rest = scene.stream->RestOfList();
  rest.pop_back();
  const verifier::AgentRecord before = scene.Record();
  CHECK_THAT(RoundWith(scene, rest), StartsWith("TRUSTED ima.list_malformed"));
  // Trust is not renewed by it.
  CHECK(scene.Record().valid_until == before.valid_until);
  CHECK(scene.Record().last_attested == before.last_attested);
  CHECK(scene.Record().progress.byte_offset == before.progress.byte_offset);
  // All of it is due then, and does.
  CHECK(scene.stream->verdict().next_byte_offset() == 0);
  CHECK(scene.stream->Round() == "TRUSTED");
  CHECK(scene.Record().valid_until > before.valid_until);
}

TEST_CASE("A8: pieces of a list when none is due") {
  LiveScene scene;
  const std::vector<uint8_t> list = scene.victim.List();
  SECTION("before the quote") {
    REQUIRE(scene.stream->AwaitChallenge().has_value());
    REQUIRE(scene.stream->SendChunk(list, true));
    CHECK_THAT(scene.stream->Outcome(), StartsWith("refused: a piece"));
    scene.CheckUnchanged();
  }
  SECTION("an empty one") {
    const auto challenge = scene.stream->AwaitChallenge();
    REQUIRE(challenge.has_value());
    REQUIRE(scene.stream->SendQuote(*challenge));
    REQUIRE(scene.stream->SendChunk({}, false));
    CHECK_THAT(scene.stream->Outcome(), StartsWith("refused: an empty piece"));
    scene.CheckUnchanged();
  }
  SECTION("one quote after another, and no list") {
    const auto challenge = scene.stream->AwaitChallenge();
    REQUIRE(challenge.has_value());
    REQUIRE(scene.stream->SendQuote(*challenge));
    REQUIRE(scene.stream->SendQuote(*challenge));
    CHECK_THAT(scene.stream->Outcome(), StartsWith("refused: a quote at a"));
    scene.CheckUnchanged();
  }
  SECTION("Hello again") {
    REQUIRE(scene.stream->SendHello());
    CHECK_THAT(scene.stream->Outcome(), StartsWith("refused: a second Hello"));
    scene.CheckUnchanged();
  }
  // It comes back in.
  scene.stream = scene.Connect();
  CHECK(scene.stream->Attest() == "TRUSTED");
}

TEST_CASE("A8: a quote that stands still while the list grows") {
  LiveScene scene({.configure = [](auto& config) {
    config.interval = absl::Milliseconds(300);
    config.grace = absl::Milliseconds(300);
  }});
  // Entries are shown and never extended: no quote will ever cover them.
  ListBuilder shown = scene.victim.machine.list;
  shown.AddFile("/tmp/evil", FileDigestOf("evil"));
  std::string outcome;
  for (int i = 0; i < 100 && outcome.rfind("FAILED", 0) != 0; ++i) {
    outcome = RoundWith(scene, From(shown.bytes(), scene.stream->offset()));
    if (i % 2 == 1) shown.AddFile("/tmp/evil", FileDigestOf("evil"));
  }
  CHECK_THAT(outcome, StartsWith("FAILED ima.tail_unquoted"));
  CHECK(scene.State() == AgentState::kFailed);
}

TEST_CASE("A9: entries that no quote covers are not judged") {
  LiveScene scene;
  FakeMachine& machine = scene.victim.machine;
  ListBuilder longer = machine.list;
  longer.AddFile("/tmp/evil", FileDigestOf("evil"));
  const std::vector<uint8_t> rest =
      From(longer.bytes(), scene.stream->offset());
  CHECK(RoundWith(scene, rest) == "TRUSTED");
  CHECK(scene.stream->verdict().pending_count() == 1);
  CHECK(scene.Findings().empty());
  SECTION("until one does") {
    machine.list = longer;
    CHECK_THAT(scene.stream->Round(), StartsWith("FAILED ima.not_in_policy"));
  }
  SECTION("and have to be there again") {
    CHECK_THAT(scene.stream->Round(), StartsWith("FAILED ima.tail_vanished"));
  }
  SECTION("also on the next stream") {
    scene.stream = scene.Connect();
    CHECK_THAT(scene.stream->Attest(), StartsWith("FAILED ima.tail_vanished"));
  }
}

TEST_CASE("A9: an alarm that is raised behind the quote") {
  LiveScene scene;
  // Somebody without the TPM can't have another's machine called failed by it.
  const std::vector<uint8_t> rest = [&] {
    ListBuilder longer = scene.victim.machine.list;
    longer.AddViolation("/usr/bin/sh");
    longer.Add(10, "ima-ng", AsBytes("nonsense"));
    return From(longer.bytes(), scene.stream->offset());
  }();
  CHECK(RoundWith(scene, rest) == "TRUSTED");
  CHECK(scene.Findings().empty());
}

TEST_CASE("A10: names that are made to mislead") {
  LiveScene scene;
  FakeMachine& machine = scene.victim.machine;
  SECTION("a newline and a line that looks good") {
    const std::string name = "/tmp/a\n10 0000 ima-ng sha256:00 /usr/bin/sh";
    machine.list.AddFile(name, FileDigestOf("evil"));
    CHECK(scene.stream->Round() == "FAILED ima.not_in_policy");
    CHECK(scene.Record().findings.at(0).path == name);
  }
  SECTION("an underscore for a blank") {
    machine.list.AddFile("/usr/bin_sh", FileDigestOf("/usr/bin/sh"));
    CHECK(scene.stream->Round() == "FAILED ima.not_in_policy");
  }
  SECTION("no UTF-8, and 4 KiB of it") {
    const std::string name = "/" + std::string(4096, '\xff');
    machine.list.AddFile(name, FileDigestOf("evil"));
    CHECK(scene.stream->Round() == "FAILED ima.not_in_policy");
    CHECK(scene.Record().findings.at(0).path == name);
  }
  SECTION("a NUL in it") {
    machine.list.AddFile(std::string("/usr/bin/sh\0/tmp/evil", 21),
                         FileDigestOf("/usr/bin/sh"));
    CHECK(scene.stream->Round() == "FAILED ima.template_malformed");
  }
  CHECK(scene.State() == AgentState::kFailed);
}

TEST_CASE("A13: a violation does not hide a file") {
  LiveScene scene;
  FakeMachine& machine = scene.victim.machine;
  SECTION("that is evil") {
    machine.list.AddViolation("/tmp/evil");
    machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
    CHECK(scene.stream->Round() ==
          "FAILED ima.violation ima.not_in_policy ima.not_in_policy");
  }
  SECTION("that is good") {
    machine.list.AddViolation("/usr/bin/sh");
    CHECK(scene.stream->Round() == "FAILED ima.violation");
  }
  CHECK(scene.State() == AgentState::kFailed);
}

TEST_CASE("A15: a record that says it has four gigabytes") {
  LiveScene scene;
  std::vector<uint8_t> record = From(scene.victim.List(), 0);
  // PCR and digest, then the size of the template's name.
  for (size_t i = 24; i < 28; ++i) record[i] = 0xff;
  CHECK_THAT(RoundWith(scene, record),
             StartsWith("TRUSTED ima.list_malformed"));
  scene.CheckVictimLives();
}

TEST_CASE("A30: PCR 10 is extended by hand") {
  LiveScene scene;
  FakeMachine& machine = scene.victim.machine;
  // What no list explains, whatever is sent with it.
  ListBuilder by_hand = machine.list;
  by_hand.AddFile("by hand", FileDigestOf("by hand"));
  const auto extend = [&] {
    machine.pcrs.insert_or_assign({HashAlgorithm::kSha256, 10u},
                                  by_hand.Pcr(HashAlgorithm::kSha256));
  };
  extend();
  CHECK(scene.stream->Round() == "FAILED ima.history_lost");
  CHECK(scene.State() == AgentState::kFailed);
  SECTION("and again on another stream") {
    scene.stream = scene.Connect();
    CHECK_THAT(scene.stream->Attest(), StartsWith("FAILED"));
  }
  SECTION("and undone by a reboot") {
    scene.stream.reset();
    machine.pcrs.erase({HashAlgorithm::kSha256, 10u});
    machine.Reboot();
    scene.stream = scene.Connect();
    CHECK_THAT(scene.stream->Attest(), StartsWith("FAILED"));
  }
  CHECK(scene.State() == AgentState::kFailed);
}

TEST_CASE("A36: entries on PCRs that can be reset, or that are the boot's") {
  LiveScene scene;
  FakeMachine& machine = scene.victim.machine;
  SECTION("on PCR 16") {
    machine.Run("/usr/bin/sh", 16);
    // That PCR is asked for first.
    CHECK(scene.stream->Round() == "TRUSTED ima.pcr_not_quoted");
    CHECK_THAT(scene.stream->Round(), StartsWith("FAILED ima.pcr_resettable"));
  }
  SECTION("on PCR 7") {
    machine.list.AddFile("/usr/bin/sh", FileDigestOf("/usr/bin/sh"), 7);
    CHECK_THAT(scene.stream->Settle(), StartsWith("FAILED "));
  }
  SECTION("PCR 7 extended after the boot") {
    machine.SetBootPcr(7, "extended");
    CHECK_THAT(scene.stream->Round(),
               StartsWith("FAILED pcr.changed_after_boot"));
  }
  CHECK(scene.State() == AgentState::kFailed);
}

TEST_CASE("A43: a template's name, which no hash covers") {
  LiveScene scene;
  scene.victim.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  const std::string rest = std::string(AsText(scene.stream->RestOfList()));
  const auto relabelled = [&](const char* name) {
    std::string changed = rest;
    changed.replace(changed.find("ima-ng"), 6, name);
    return ToVector(AsBytes(changed));
  };
  SECTION("ima-sig") {
    CHECK_THAT(RoundWith(scene, relabelled("ima-xx")),
               StartsWith("FAILED ima.template_unknown"));
  }
  SECTION("one that nobody knows") {
    CHECK_THAT(RoundWith(scene, relabelled("d-ngv3")),
               StartsWith("FAILED ima.template_unknown"));
  }
  CHECK(scene.State() == AgentState::kFailed);
}

}  // namespace
}  // namespace cupel::testing
