// The emulator over a software TPM, and all of an agent's hands together.

#include "agent/ima_emulator/ima_emulator.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/sources/ima_list_source.h"
#include "agent/tpm/esys_tpm.h"
#include "agent/tpm/identity.h"
#include "catch2/catch.hpp"
#include "common/ima/template.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/evidence_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/swtpm.h"
#include "tests/support/temporary_folder.h"

namespace cupel::agent {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using ::cupel::testing::SwTpm;
using ::cupel::testing::TemporaryFolder;

template <typename T>
T Get(absl::StatusOr<T> result) {
  REQUIRE_THAT(StatusOf(result), IsOk());
  return *std::move(result);
}

// A software TPM, the agent's connection to it, and a folder with programs.
struct Machine {
  explicit Machine(const std::vector<std::string>& setup = {}) {
    SwTpm::SkipUnlessAvailable();
    SilenceTssLog();
    swtpm = Get(SwTpm::Start(setup));
    tpm = Connect();
  }

  std::unique_ptr<EsysTpm> Connect() const {
    return Get(EsysTpm::Open({.tcti = swtpm->Tcti()}));
  }
  std::unique_ptr<ImaEmulator> Emulator() {
    return Get(ImaEmulator::Open(*tpm, list_path()));
  }
  std::string list_path() const { return folder / "list"; }
  std::vector<uint8_t> List() const {
    return Get(ReadFile(list_path(), size_t{1} << 24));
  }

  std::string Program(const std::string& name, const std::string& text) const {
    const std::string path = folder / name;
    REQUIRE_THAT(WriteFile(path, text), IsOk());
    REQUIRE(chmod(path.c_str(), 0755) == 0);
    return std::filesystem::canonical(path);
  }

  // The paths of the list's entries. Checks that it replays to PCR 10 in every
  // bank.
  std::vector<std::string> Check() {
    std::vector<ima::Bank> banks;
    std::vector<tpm::BankSelection> selected;
    for (const HashAlgorithm bank : Get(tpm->AllocatedBanks())) {
      banks.push_back({.algorithm = bank});
      selected.push_back({bank, 1u << 10});
    }
    REQUIRE(banks.size() >= 2);
    auto replayer = Get(ima::Replayer::Create(banks));
    std::vector<std::string> paths;
    ima::ListParser parser({});
    const std::vector<uint8_t> list = List();
    REQUIRE_THAT(
        parser.Feed(list,
                    [&](std::span<const ima::Entry> entries) {
                      replayer.Extend(entries);
                      for (const ima::Entry& entry : entries) {
                        paths.emplace_back(Get(ima::ParseFields(entry)).path);
                      }
                      return absl::OkStatus();
                    }),
        IsOk());
    REQUIRE_THAT(parser.Finish(), IsOk());
    const auto values =
        Get(tpm->ReadPcrs(Get(tpm::PcrSelection::Create(selected))));
    for (const ima::Bank& bank : banks) {
      CHECK(*values.Find(bank.algorithm, 10) ==
            replayer.Value(bank.algorithm, 10));
    }
    return paths;
  }

  std::unique_ptr<SwTpm> swtpm;
  std::unique_ptr<EsysTpm> tpm;
  TemporaryFolder folder;
};

using Paths = std::vector<std::string>;

TEST_CASE("what the emulator measures replays to PCR 10 in every bank",
          "[swtpm]") {
  Machine machine({"--pcr-banks", "sha1,sha256,sha384,sha512"});
  const auto emulator = machine.Emulator();
  CHECK(machine.Check() == Paths{"boot_aggregate"});
  const std::string a = machine.Program("a", "one");
  CHECK(Get(emulator->MeasureFile(a)));
  CHECK_FALSE(Get(emulator->MeasureFile(a)));
  // By a link and a relative path it is the same file.
  std::filesystem::create_symlink(a, machine.folder / "link");
  CHECK_FALSE(Get(emulator->MeasureFile(machine.folder / "link")));
  // Another content is new, the first one again is not.
  machine.Program("a", "two");
  CHECK(Get(emulator->MeasureFile(a)));
  machine.Program("a", "one");
  CHECK_FALSE(Get(emulator->MeasureFile(a)));
  CHECK(machine.Check() == Paths{"boot_aggregate", a, a});
  CHECK_THAT(StatusOf(emulator->MeasureFile(machine.folder / "none")),
             StatusIs(absl::StatusCode::kNotFound, "none"));
  CHECK(machine.Check().size() == 3);
}

TEST_CASE("a script is measured with its interpreters, then run", "[swtpm]") {
  Machine machine;
  const auto emulator = machine.Emulator();
  const std::string shell = std::filesystem::canonical("/bin/sh");
  const std::string script =
      machine.Program("script", "#! /bin/sh -e\nexit $1\n");
  const std::string program = Get(emulator->MeasureCommand(script));
  CHECK(program == script);
  CHECK(machine.Check() == Paths{"boot_aggregate", script, shell});
  CHECK(Get(RunProgram(program, {"script", "7"})) == 7);
  CHECK(Get(RunProgram("/bin/sh", {"sh", "-c", "kill -9 $$"})) == 137);

  const std::string nested =
      machine.Program("nested", absl::StrCat("#!", script, "\n"));
  CHECK(Get(emulator->MeasureCommand(nested)) == nested);
  CHECK(machine.Check() == Paths{"boot_aggregate", script, shell, nested});
  // From PATH.
  CHECK(Get(emulator->MeasureCommand("sh")) == shell);

  const std::string loop = machine.folder / "loop";
  machine.Program("loop", absl::StrCat("#!", loop, "\n"));
  CHECK_THAT(StatusOf(emulator->MeasureCommand(loop)),
             StatusIs(absl::StatusCode::kInvalidArgument, "five"));
  CHECK_THAT(StatusOf(emulator->MeasureCommand("no-such-program-here")),
             StatusIs(absl::StatusCode::kNotFound, "PATH"));
  CHECK_THAT(StatusOf(RunProgram(machine.folder / "none", {"none"})),
             StatusIs(absl::StatusCode::kNotFound, "none"));
}

TEST_CASE("several emulators share one list", "[swtpm]") {
  Machine machine;
  const auto first = machine.Emulator();
  const auto connection = machine.Connect();
  const auto second = Get(ImaEmulator::Open(*connection, machine.list_path()));
  const std::string a = machine.Program("a", "a");
  const std::string b = machine.Program("b", "b");
  CHECK(Get(first->MeasureFile(a)));
  CHECK_FALSE(Get(second->MeasureFile(a)));
  CHECK(Get(second->MeasureFile(b)));
  CHECK_FALSE(Get(first->MeasureFile(b)));
  CHECK(machine.Check() == Paths{"boot_aggregate", a, b});

  // At the same time, in processes of their own.
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      alarm(60);
      const auto tpm = EsysTpm::Open({.tcti = machine.swtpm->Tcti()});
      if (!tpm.ok()) _exit(1);
      const auto emulator = ImaEmulator::Open(**tpm, machine.list_path());
      if (!emulator.ok()) _exit(2);
      for (int j = 0; j < 20; ++j) {
        const std::string path =
            machine.folder / absl::StrCat("file", i, ".", j);
        std::ofstream(path) << path;
        if (!(*emulator)->MeasureFile(path).ok()) _exit(3);
      }
      _exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(status == 0);
  }
  CHECK(machine.Check().size() == 63);
}

TEST_CASE("what a killed emulator left is completed", "[swtpm]") {
  Machine machine;
  const std::string a = machine.Program("a", "a");
  Get(machine.Emulator()->MeasureFile(a));
  const std::vector<uint8_t> list = machine.List();

  // Killed while writing: the entry's beginning is removed.
  std::vector<uint8_t> cut = list;
  Append(cut, std::span(list).first(30));
  REQUIRE_THAT(WriteFile(machine.list_path(), AsText(cut)), IsOk());
  machine.Emulator();
  CHECK(machine.List() == list);
  CHECK(machine.Check().size() == 2);

  // Killed before extending: the TPM gets it now.
  const std::string b = machine.Program("b", "b");
  Get(machine.Emulator()->MeasureFile(b));
  const std::vector<uint8_t> longer = machine.List();
  REQUIRE_THAT(machine.swtpm->Restart(), IsOk());
  REQUIRE_THAT(WriteFile(machine.list_path(), ""), IsOk());
  Get(machine.Emulator()->MeasureFile(a));
  REQUIRE(machine.List() == list);
  REQUIRE_THAT(WriteFile(machine.list_path(), AsText(longer)), IsOk());
  machine.Emulator();
  CHECK(machine.Check() == Paths{"boot_aggregate", a, b});
}

TEST_CASE("after a reset of the TPM the list starts anew", "[swtpm]") {
  Machine machine;
  const auto emulator = machine.Emulator();
  const std::string a = machine.Program("a", "a");
  const std::string b = machine.Program("b", "b");
  CHECK(Get(emulator->MeasureFile(a)));
  REQUIRE_THAT(machine.swtpm->Restart(), IsOk());
  // The connection broke: that is said once.
  if (const auto measured = emulator->MeasureFile(b); !measured.ok()) {
    CHECK_THAT(StatusOf(measured), StatusIs(absl::StatusCode::kUnavailable));
    Get(emulator->MeasureFile(b));
  }
  CHECK(machine.Check() == Paths{"boot_aggregate", b});
  CHECK(Get(emulator->MeasureFile(a)));
  CHECK(machine.Check() == Paths{"boot_aggregate", b, a});
}

TEST_CASE("a list and a TPM that don't belong together are refused",
          "[swtpm]") {
  Machine machine;
  const auto emulator = machine.Emulator();
  const std::string a = machine.Program("a", "a");
  Get(emulator->MeasureFile(a));
  const std::vector<Digest> value = {Digest::Filled(HashAlgorithm::kSha256, 1)};
  REQUIRE_THAT(machine.tpm->ExtendPcr(10, value), IsOk());
  const std::vector<uint8_t> list = machine.List();
  CHECK_THAT(
      StatusOf(emulator->MeasureFile(a)),
      StatusIs(absl::StatusCode::kFailedPrecondition, machine.list_path()));
  CHECK(machine.List() == list);
  REQUIRE_THAT(WriteFile(machine.list_path(), "this is no list at all"),
               IsOk());
  CHECK_THAT(StatusOf(ImaEmulator::Open(*machine.tpm, machine.list_path())),
             StatusIs(absl::StatusCode::kInvalidArgument, machine.list_path()));
  CHECK_THAT(StatusOf(ImaEmulator::Open(*machine.tpm, "/nonexistent/list")),
             StatusIs(absl::StatusCode::kNotFound, "/nonexistent/list"));
}

TEST_CASE("an emulated machine's evidence passes, and an unknown file fails",
          "[swtpm]") {
  Machine machine;
  const auto emulator = machine.Emulator();
  const std::string good = machine.Program("good", "#!/bin/sh\n");
  Get(emulator->MeasureCommand(good));
  const TemporaryFolder state;
  const Identity identity =
      Get(PrepareIdentity(*machine.tpm, {.state_folder = state.path()}));
  const auto source = Get(ImaListSource::Open(machine.list_path(), ""));

  testing::PolicyParts parts;
  for (const std::string& path :
       {good, std::string(std::filesystem::canonical("/bin/sh"))}) {
    parts.digests[path] = {crypto::Hash(HashAlgorithm::kSha256,
                                        Get(ReadFile(path, size_t{1} << 26)))};
  }
  testing::ValidEvidence evidence;
  evidence.reference.policy = testing::MakePolicy(parts);
  evidence.reference.boot_rule = policy::AnyBoot{};
  evidence.reference.lab = true;
  evidence.ak = Get(tpm::AttestationKey::FromPublicArea(identity.ak));
  evidence.ek_name = identity.ek.Name();
  evidence.nonce = std::vector<uint8_t>(32, 5);
  evidence.selection =
      Get(tpm::PcrSelection::FromString("sha256:0,1,2,3,4,5,6,7,8,9,10"));
  const auto attest = [&](uint64_t from, uint64_t byte_offset) {
    const Quote quote =
        Get(machine.tpm->MakeQuote(evidence.nonce, *evidence.selection));
    evidence.quote = {quote.attest, quote.signature};
    evidence.pcrs = quote.values;
    evidence.first_entry = from;
    evidence.list =
        Get(source->ReadFrom(byte_offset, ImaListSource::kMaxPieceSize));
    return evidence.Appraise();
  };

  const auto passed = attest(0, 0);
  CAPTURE(testing::FindingIds(passed));
  CHECK(passed.verdict == appraisal::Verdict::kPass);
  CHECK(passed.proof == appraisal::Proof::kQuote);
  CHECK(passed.counts.entries == 3);
  CHECK(Get(source->EntryCount()) == 3);

  // The rest of the list alone, from where that left off.
  evidence.progress = passed.progress;
  const std::string evil = machine.Program("evil", "#!/bin/sh\n# evil\n");
  Get(emulator->MeasureCommand(evil));
  const auto failed =
      attest(passed.progress.entry_count, passed.progress.byte_offset);
  CHECK(failed.verdict == appraisal::Verdict::kFail);
  const auto* finding = testing::FindFinding(failed, "ima.not_in_policy");
  REQUIRE(finding != nullptr);
  CHECK(finding->path == evil);
}

}  // namespace
}  // namespace cupel::agent
