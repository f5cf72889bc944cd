// EsysTpm against a software TPM without a resource manager.

#include "agent/tpm/esys_tpm.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/tpm/identity.h"
#include "catch2/catch.hpp"
#include "common/crypto/openssl.h"
#include "common/tpm/make_credential.h"
#include "common/util/bytes.h"
#include "tests/agent/tpm/swtpm_rig.h"
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
using ::cupel::tpm::EkTemplate;
using ::cupel::tpm::PcrSelection;

TEST_CASE("banks, PCR values and extends of a software TPM", "[swtpm]") {
  const auto swtpm = StartTpm();
  const auto tpm = Connect(*swtpm);
  const std::vector<HashAlgorithm> banks = Get(tpm->AllocatedBanks());
  CHECK(banks == std::vector{HashAlgorithm::kSha1, HashAlgorithm::kSha256});

  const PcrSelection all = Selection("sha1:all+sha256:all");
  const auto before = Get(tpm->ReadPcrs(all));
  CHECK(before.size() == 48);
  CHECK(before.Find(HashAlgorithm::kSha256, 10)->IsZero());
  CHECK_FALSE(before.Find(HashAlgorithm::kSha256, 17)->IsZero());

  const std::vector<Digest> values = {
      Digest::Filled(HashAlgorithm::kSha1, 1),
      Digest::Filled(HashAlgorithm::kSha256, 2)};
  REQUIRE_THAT(tpm->ExtendPcr(10, values), IsOk());
  const auto after = Get(tpm->ReadPcrs(all));
  for (const Digest& value : values) {
    Digest expected(value.algorithm());
    crypto::ExtendPcr(expected, value.bytes());
    CHECK(*after.Find(value.algorithm(), 10) == expected);
  }
  CHECK_THAT(StatusOf(tpm->ReadPcrs(Selection("sha384:10"))),
             StatusIs(absl::StatusCode::kFailedPrecondition, "not allocated"));
  CHECK_THAT(tpm->ExtendPcr(24, values),
             StatusIs(absl::StatusCode::kInvalidArgument, "PCR 24"));
  CHECK_THAT(tpm->ExtendPcr(10, {}),
             StatusIs(absl::StatusCode::kInvalidArgument));
  CHECK(CountLoaded(*swtpm) == 0);
}

TEST_CASE("EK certificates are read from NV, without its padding", "[swtpm]") {
  const auto swtpm = StartTpm();
  const auto tpm = Connect(*swtpm);
  CHECK(Get(tpm->ReadEkCertificates()).empty());

  // A "certificate" as a TPM's maker leaves it, with padding; larger than one
  // read. Then one that is none.
  std::vector<uint8_t> der = {0x30, 0x82, 0x05, 0x00};
  der.resize(der.size() + 0x500, 0x5a);
  std::vector<uint8_t> padded = der;
  padded.resize(der.size() + 100, 0xff);
  REQUIRE_THAT(swtpm->Write("nv", padded), IsOk());
  for (const char* index : {"0x1c0000a", "0x1c00016"}) {
    Get(swtpm->Run({"tpm2_nvdefine", index, "-C", "o", "-s",
                    absl::StrCat(padded.size()), "-a",
                    "ownerread|ownerwrite|authread|no_da"}));
    Get(swtpm->Run({"tpm2_nvwrite", index, "-C", "o", "-i", "nv"}));
  }
  auto certificates = Get(tpm->ReadEkCertificates());
  REQUIRE(certificates.size() == 2);
  CHECK(certificates[0].ek_template == EkTemplate::kL2);
  CHECK(Get(certificates[0].der) == der);
  CHECK(certificates[1].ek_template == EkTemplate::kH3);

  padded[0] = 0xff;
  REQUIRE_THAT(swtpm->Write("nv", padded), IsOk());
  Get(swtpm->Run({"tpm2_nvwrite", "0x1c0000a", "-C", "o", "-i", "nv"}));
  certificates = Get(tpm->ReadEkCertificates());
  REQUIRE(certificates.size() == 2);
  CHECK_THAT(StatusOf(certificates[0].der),
             StatusIs(absl::StatusCode::kInvalidArgument,
                      "L-2 at NV index 0x1c0000a"));
  CHECK(Get(certificates[1].der) == der);
  // It keeps nobody from using another EK.
  const TemporaryFolder state;
  const auto identity =
      Get(PrepareIdentity(*tpm, {.state_folder = state.path()}));
  CHECK(identity.ek_template == EkTemplate::kH3);
  CHECK(Get(identity.ek_certificate) == der);
  CHECK(CountLoaded(*swtpm) == 0);
}

TEST_CASE("a manufactured TPM's certificate is its EK's", "[swtpm]") {
  StartTpm();  // for the skip
  const TemporaryFolder folder;
  const auto swtpm = Get(SwTpm::StartCertified(folder.path()));
  const auto tpm = Connect(*swtpm);
  const auto certificates = Get(tpm->ReadEkCertificates());
  REQUIRE(certificates.size() == 2);
  for (const EkCertificate& certificate : certificates) {
    const std::vector<uint8_t> der = Get(certificate.der);
    const uint8_t* at = der.data();
    X509* parsed = d2i_X509(nullptr, &at, static_cast<long>(der.size()));
    REQUIRE(parsed != nullptr);
    CHECK(at == der.data() + der.size());
    const auto ek = Get(tpm->ReadEk(certificate.ek_template));
    const auto key = Get(ek.ToPublicKey());
    CHECK(EVP_PKEY_eq(X509_get0_pubkey(parsed), key.get()) == 1);
    X509_free(parsed);
  }
}

TEST_CASE("every kind of EK and AK enrols and quotes", "[swtpm]") {
  const auto swtpm = StartTpm();
  const auto tpm = Connect(*swtpm);
  const PcrSelection selection =
      Selection("sha256:0,1,2,3,4,5,6,7,8,9,10+sha1:10");
  for (const EkTemplate ek_template :
       {EkTemplate::kL1, EkTemplate::kL2, EkTemplate::kH3}) {
    for (const AkKind kind : {AkKind::kEccP256, AkKind::kRsa2048}) {
      CAPTURE(std::string(tpm::EkTemplateName(ek_template)),
              static_cast<int>(kind));
      const TemporaryFolder state;
      const auto identity =
          Get(PrepareIdentity(*tpm, {.state_folder = state.path(),
                                     .ek_template = ek_template,
                                     .ak_kind = kind}));
      CHECK(identity.ak_is_new);
      CHECK(identity.ek_template == ek_template);
      CHECK((identity.ak.attributes & tpm::kAttrNoDa) != 0);
      CHECK(identity.ak.type ==
            (kind == AkKind::kRsa2048 ? tpm::AlgId::kRsa : tpm::AlgId::kEcc));
      CHECK(CountLoaded(*swtpm) == 0);

      const std::vector<uint8_t> plain = Nonce(9);
      const auto credential = Get(
          tpm::MakeCredential(identity.ek, identity.ak.Name(), Secret(plain)));
      const Secret recovered = Get(tpm->ActivateCredential(credential));
      CHECK(ToVector(recovered.Reveal()) == plain);
      CHECK(CountLoaded(*swtpm) == 0);

      const Quote quote = Get(tpm->MakeQuote(Nonce(), selection));
      CheckQuote(identity, quote, Nonce(), selection);
      CHECK(quote.values.size() == 12);
      CHECK(CountLoaded(*swtpm) == 0);
    }
  }
}

TEST_CASE("a credential for somebody else is not activated", "[swtpm]") {
  const auto swtpm = StartTpm();
  const auto tpm = Connect(*swtpm);
  const TemporaryFolder state;
  const auto identity = Get(PrepareIdentity(
      *tpm, {.state_folder = state.path(), .ek_template = EkTemplate::kL2}));
  const auto activate = [&](const tpm::PublicArea& ek,
                            const std::vector<uint8_t>& name) {
    return StatusOf(tpm->ActivateCredential(
        Get(tpm::MakeCredential(ek, name, Secret(Nonce())))));
  };
  REQUIRE_THAT(activate(identity.ek, identity.ak.Name()), IsOk());
  std::vector<uint8_t> other_name = identity.ak.Name();
  other_name.back() ^= 1;
  CHECK_THAT(activate(identity.ek, other_name),
             StatusIs(absl::StatusCode::kPermissionDenied));
  const auto other_ek = Get(tpm->ReadEk(EkTemplate::kL1));
  CHECK_FALSE(activate(other_ek, identity.ak.Name()).ok());
  auto credential = Get(
      tpm::MakeCredential(identity.ek, identity.ak.Name(), Secret(Nonce())));
  credential.id_object.push_back(0);
  CHECK_THAT(StatusOf(tpm->ActivateCredential(credential)),
             StatusIs(absl::StatusCode::kInvalidArgument, "left over"));
  credential.id_object = {};
  CHECK_THAT(StatusOf(tpm->ActivateCredential(credential)),
             StatusIs(absl::StatusCode::kInvalidArgument, "credential"));
  CHECK(CountLoaded(*swtpm) == 0);
}

TEST_CASE("the endorsement hierarchy's password is used", "[swtpm]") {
  const auto swtpm = StartTpm();
  Get(swtpm->Run({"tpm2_changeauth", "-c", "e", "secret"}));
  const TemporaryFolder state;
  const IdentityOptions options = {.state_folder = state.path(),
                                   .ek_template = EkTemplate::kL2};
  CHECK_THAT(StatusOf(PrepareIdentity(*Connect(*swtpm, "wrong"), options)),
             StatusIs(absl::StatusCode::kPermissionDenied, "password"));
  const auto tpm = Connect(*swtpm, "secret");
  const auto identity = Get(PrepareIdentity(*tpm, options));
  const auto credential = Get(
      tpm::MakeCredential(identity.ek, identity.ak.Name(), Secret(Nonce())));
  CHECK_THAT(StatusOf(tpm->ActivateCredential(credential)), IsOk());
  CHECK(CountLoaded(*swtpm) == 0);
}

TEST_CASE("an AK outlives the agent and the boot", "[swtpm]") {
  const auto swtpm = StartTpm();
  const TemporaryFolder state;
  const IdentityOptions options = {.state_folder = state.path()};
  const auto first = Get(PrepareIdentity(*Connect(*swtpm), options));
  CHECK(first.ak_is_new);
  CHECK(first.ek_template == EkTemplate::kL1);

  const auto tpm = Connect(*swtpm);
  const auto second = Get(PrepareIdentity(*tpm, options));
  CHECK_FALSE(second.ak_is_new);
  CHECK(second.ak == first.ak);
  CHECK(second.ek == first.ek);

  // The boot makes the saved context useless, not the AK.
  const PcrSelection selection = Selection(kUsual);
  CheckQuote(second, Get(tpm->MakeQuote(Nonce(1), selection)), Nonce(1),
             selection);
  REQUIRE_THAT(swtpm->Restart(), IsOk());
  CheckQuote(second, Get(tpm->MakeQuote(Nonce(2), selection)), Nonce(2),
             selection);
  CHECK(CountLoaded(*swtpm) == 0);

  IdentityOptions other = options;
  other.ak_kind = AkKind::kRsa2048;
  CHECK_THAT(StatusOf(PrepareIdentity(*tpm, other)),
             StatusIs(absl::StatusCode::kFailedPrecondition, "another kind"));
  other = options;
  other.ek_template = EkTemplate::kL2;
  CHECK_THAT(StatusOf(PrepareIdentity(*tpm, other)),
             StatusIs(absl::StatusCode::kFailedPrecondition, "under EK L-1"));
}

TEST_CASE("an AK of another TPM is not loaded, and the cure is said",
          "[swtpm]") {
  const auto first = StartTpm();
  const auto second = StartTpm();
  const TemporaryFolder state;
  const IdentityOptions options = {.state_folder = state.path(),
                                   .ek_template = EkTemplate::kL2};
  Get(PrepareIdentity(*Connect(*first), options));
  const auto other = Connect(*second);
  CHECK_THAT(
      StatusOf(PrepareIdentity(*other, options)),
      StatusIs(absl::StatusCode::kFailedPrecondition, "move " + state / "ak"));
  CHECK_THAT(StatusOf(other->MakeQuote(Nonce(), Selection(kUsual))),
             StatusIs(absl::StatusCode::kFailedPrecondition));
  // The EK's Name fits, the private part does not.
  AkBlobs forged = Get(LoadAk(state / "ak"));
  forged.ek_name = Get(other->ReadEk(EkTemplate::kL2)).Name();
  REQUIRE_THAT(SaveAk(state / "ak", forged), IsOk());
  CHECK_THAT(
      StatusOf(PrepareIdentity(*other, options)),
      StatusIs(absl::StatusCode::kFailedPrecondition, "move " + state / "ak"));
  CHECK(CountLoaded(*second) == 0);
}

TEST_CASE("quotes that can't be made are refused", "[swtpm]") {
  const auto swtpm = StartTpm();
  const auto tpm = Connect(*swtpm);
  CHECK_THAT(StatusOf(tpm->MakeQuote(Nonce(), Selection(kUsual))),
             StatusIs(absl::StatusCode::kFailedPrecondition, "UseAk"));
  const TemporaryFolder state;
  Get(PrepareIdentity(
      *tpm, {.state_folder = state.path(), .ek_template = EkTemplate::kL2}));
  CHECK_THAT(
      StatusOf(tpm->MakeQuote(std::vector<uint8_t>(67), Selection(kUsual))),
      StatusIs(absl::StatusCode::kInvalidArgument, "qualifying data"));
  CHECK_THAT(StatusOf(tpm->MakeQuote(Nonce(), PcrSelection())),
             StatusIs(absl::StatusCode::kInvalidArgument));
  CHECK_THAT(StatusOf(tpm->MakeQuote(Nonce(), Selection("sha512:10"))),
             StatusIs(absl::StatusCode::kFailedPrecondition, "not allocated"));
  CHECK(CountLoaded(*swtpm) == 0);
}

TEST_CASE("the TPM's state is what it says of itself", "[swtpm]") {
  const auto swtpm = StartTpm();
  const auto tpm = Connect(*swtpm);
  const TpmState state = Get(tpm->ReadState());
  CHECK(state.manufacturer == "IBM");
  CHECK(state.has_endorsement);
  CHECK_FALSE(state.is_locked_out);
  CHECK(state.unnamed_banks.empty());
  CHECK(state.free_object_count == 3);
  CHECK(state.free_session_count == 3);
  Get(swtpm->RunWithoutFlush({"tpm2_createprimary", "-C", "o"}));
  const TpmState fuller = Get(tpm->ReadState());
  CHECK(fuller.free_object_count == 2);
  CHECK(fuller.clock.clock >= state.clock.clock);
  REQUIRE_THAT(swtpm->Restart(), IsOk());
  CHECK(Get(tpm->ReadState()).clock.reset_count == state.clock.reset_count + 1);
}

TEST_CASE("a TPM that stalls is waited for", "[swtpm]") {
  const auto swtpm = StartTpm();
  const auto tpm = Connect(*swtpm);
  const TemporaryFolder state;
  const auto identity = Get(PrepareIdentity(
      *tpm, {.state_folder = state.path(), .ek_template = EkTemplate::kL2}));
  const PcrSelection selection = Selection(kUsual);
  swtpm->Stall();
  std::thread resume([&] {
    absl::SleepFor(absl::Seconds(2));
    swtpm->Resume();
  });
  const auto quote = tpm->MakeQuote(Nonce(), selection);
  resume.join();
  REQUIRE_THAT(StatusOf(quote), IsOk());
  CheckQuote(identity, *quote, Nonce(), selection);
  CHECK(CountLoaded(*swtpm) == 0);
}

TEST_CASE("a thousand quotes leave nothing in the TPM", "[swtpm]") {
  const auto swtpm = StartTpm();
  const auto tpm = Connect(*swtpm);
  const TemporaryFolder state;
  const auto identity = Get(PrepareIdentity(
      *tpm, {.state_folder = state.path(), .ek_template = EkTemplate::kL2}));
  const PcrSelection selection = Selection(kUsual);
  for (int i = 0; i < 1000; ++i) {
    const auto quote =
        tpm->MakeQuote(Nonce(static_cast<uint8_t>(i)), selection);
    REQUIRE_THAT(StatusOf(quote), IsOk());
  }
  CHECK(CountLoaded(*swtpm) == 0);
}

TEST_CASE("a TPM that went away is connected to anew", "[swtpm]") {
  const auto swtpm = StartTpm();
  const auto tpm = Connect(*swtpm);
  const TemporaryFolder state;
  const auto identity = Get(PrepareIdentity(
      *tpm, {.state_folder = state.path(), .ek_template = EkTemplate::kL2}));
  const PcrSelection selection = Selection(kUsual);
  swtpm->Kill();
  for (int i = 0; i < 3; ++i) {
    CHECK_THAT(StatusOf(tpm->MakeQuote(Nonce(), selection)),
               StatusIs(absl::StatusCode::kUnavailable, "group tss"));
  }
  REQUIRE_THAT(swtpm->Restart(), IsOk());
  const Quote quote = Get(tpm->MakeQuote(Nonce(), selection));
  CheckQuote(identity, quote, Nonce(), selection);
  CHECK(CountLoaded(*swtpm) == 0);
}

TEST_CASE("quotes taken while PCRs change carry the values they sign",
          "[swtpm]") {
  const auto swtpm = StartTpm();
  const auto tpm = Connect(*swtpm);
  const TemporaryFolder state;
  const auto identity = Get(PrepareIdentity(
      *tpm, {.state_folder = state.path(), .ek_template = EkTemplate::kL2}));
  const PcrSelection selection = Selection(kUsual);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(60);
    auto other = EsysTpm::Open({.tcti = swtpm->Tcti()});
    const std::vector<Digest> value = {
        Digest::Filled(HashAlgorithm::kSha256, 3)};
    while (other.ok() && (*other)->ExtendPcr(10, value).ok()) {
      absl::SleepFor(absl::Milliseconds(3));
    }
    _exit(1);
  }
  int made = 0;
  for (int i = 0; i < 30; ++i) {
    const auto quote = tpm->MakeQuote(Nonce(), selection);
    if (quote.status().code() == absl::StatusCode::kUnavailable) continue;
    REQUIRE_THAT(StatusOf(quote), IsOk());
    CheckQuote(identity, *quote, Nonce(), selection);
    ++made;
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  CHECK(made > 10);
  CHECK(CountLoaded(*swtpm) == 0);
}

}  // namespace
}  // namespace cupel::agent
