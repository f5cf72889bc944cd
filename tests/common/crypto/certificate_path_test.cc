#include "common/crypto/certificate_path.h"

#include <functional>
#include <optional>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/certificate_builder.h"
#include "tests/support/status_matchers.h"

namespace cupel::crypto {
namespace {

using ::cupel::testing::CaSpec;
using ::cupel::testing::CertificateSpec;
using ::cupel::testing::EkSpec;
using ::cupel::testing::FakeKeyKind;
using ::cupel::testing::IsOk;
using ::cupel::testing::MakeCertificate;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using ::cupel::testing::TestCertificate;
using ::cupel::testing::TestTime;

using testing::kDenied;
constexpr char kEku[] = "2.23.133.8.1";

// A valid path of three, until a test changes its specification.
struct Path {
  CertificateSpec root = CaSpec("Root", 60);
  CertificateSpec intermediate = CaSpec("Intermediate", 61);
  CertificateSpec leaf = EkSpec(FakeKeyKind::kEcP256, 62);
  PathOptions options{.time = TestTime(), .required_eku = kEku};
  std::optional<CertificateSpec> pinned;  // in place of the root

  absl::Status Verify() const {
    const TestCertificate top = MakeCertificate(root);
    const TestCertificate middle = MakeCertificate(intermediate, &top);
    const TestCertificate bottom = MakeCertificate(leaf, &middle);
    const auto anchors = TrustAnchors::Create(
        std::vector{pinned.has_value() ? MakeCertificate(*pinned).certificate
                                       : top.certificate});
    if (!anchors.ok()) return anchors.status();
    return VerifyPath(bottom.certificate, std::vector{middle.certificate},
                      *anchors, options);
  }
};

TEST_CASE("A path to a pinned root is verified") {
  Path path;
  CHECK_THAT(path.Verify(), IsOk());
  SECTION("an issuer may name the usage, or any") {
    path.intermediate.ekus = {kEku};
    CHECK_THAT(path.Verify(), IsOk());
    path.intermediate.ekus = {"2.5.29.37.0"};
    CHECK_THAT(path.Verify(), IsOk());
  }
  SECTION("without a usage none is asked for") {
    path.options.required_eku.clear();
    path.leaf.ekus.clear();
    CHECK_THAT(path.Verify(), IsOk());
  }
  SECTION("RSA, and a subject") {
    path.leaf.key_kind = FakeKeyKind::kRsa2048;
    path.leaf.subject = {{"CN", "EK"}};
    path.leaf.is_san_critical = false;
    CHECK_THAT(path.Verify(), IsOk());
  }
}

TEST_CASE("A path that is wrong in one thing is refused") {
  struct Case {
    const char* description;
    std::function<void(Path&)> change;
    const char* message;
  };
  const std::vector<Case> cases = {
      {"another root of the same name",
       [](Path& p) { p.pinned = CaSpec("Root", 99); }, ""},
      {"another root", [](Path& p) { p.pinned = CaSpec("Other", 60); },
       "issuer certificate"},
      {"leaf expired",
       [](Path& p) { p.leaf.not_after = TestTime() - absl::Seconds(1); },
       "expired"},
      {"leaf of tomorrow",
       [](Path& p) { p.leaf.not_before = TestTime() + absl::Seconds(1); },
       "not yet valid"},
      {"intermediate expired",
       [](Path& p) {
         p.intermediate.not_after = TestTime() - absl::Seconds(1);
       },
       "expired"},
      {"root expired",
       [](Path& p) { p.root.not_after = TestTime() - absl::Seconds(1); },
       "expired"},
      {"intermediate is no CA", [](Path& p) { p.intermediate.is_ca = false; },
       "CA"},
      {"intermediate without basicConstraints",
       [](Path& p) { p.intermediate.is_ca = std::nullopt; }, "CA"},
      {"intermediate may not sign",
       [](Path& p) { p.intermediate.key_usage = "digitalSignature"; }, ""},
      {"root allows no intermediate", [](Path& p) { p.root.path_length = 0; },
       "path length"},
      {"leaf of another usage", [](Path& p) { p.leaf.ekus = {"2.23.133.8.3"}; },
       "2.23.133.8.1"},
      {"leaf of any usage", [](Path& p) { p.leaf.ekus = {"2.5.29.37.0"}; },
       "2.23.133.8.1"},
      {"leaf without a usage", [](Path& p) { p.leaf.ekus.clear(); },
       "2.23.133.8.1"},
      {"intermediate for TLS servers",
       [](Path& p) { p.intermediate.ekus = {"1.3.6.1.5.5.7.3.1"}; },
       "2.23.133.8.1"},
      {"unknown critical extension in the leaf",
       [](Path& p) { p.leaf.has_unknown_critical = true; }, "critical"},
      {"unknown critical extension in the intermediate",
       [](Path& p) { p.intermediate.has_unknown_critical = true; }, "critical"},
      {"SHA-1 in the leaf", [](Path& p) { p.leaf.hash = EVP_sha1(); }, "weak"},
      {"SHA-1 in the intermediate",
       [](Path& p) { p.intermediate.hash = EVP_sha1(); }, "weak"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.description);
    Path path;
    REQUIRE_THAT(path.Verify(), IsOk());
    c.change(path);
    CHECK_THAT(path.Verify(), StatusIs(kDenied, c.message));
  }
}

TEST_CASE("Intermediates come in any order, and may be pinned") {
  const TestCertificate root = MakeCertificate(CaSpec("Root", 60));
  const TestCertificate first = MakeCertificate(CaSpec("A", 61), &root);
  const TestCertificate second = MakeCertificate(CaSpec("B", 62), &first);
  const TestCertificate other = MakeCertificate(CaSpec("C", 63));
  const TestCertificate leaf =
      MakeCertificate(EkSpec(FakeKeyKind::kEcP256, 64), &second);
  const auto anchors = TrustAnchors::Create(std::vector{root.certificate});
  REQUIRE_THAT(StatusOf(anchors), IsOk());
  const PathOptions options{.time = TestTime(), .required_eku = kEku};
  CHECK_THAT(VerifyPath(leaf.certificate,
                        std::vector{other.certificate, second.certificate,
                                    first.certificate},
                        *anchors, options),
             IsOk());
  CHECK_THAT(VerifyPath(leaf.certificate, std::vector{second.certificate},
                        *anchors, options),
             StatusIs(kDenied, "issuer"));
  CHECK_THAT(VerifyPath(leaf.certificate, {}, *anchors, options),
             StatusIs(kDenied, "issuer"));
  // Sent by the peer, a root is nothing.
  const auto others = TrustAnchors::Create(std::vector{other.certificate});
  CHECK_THAT(VerifyPath(leaf.certificate,
                        std::vector{second.certificate, first.certificate,
                                    root.certificate},
                        *others, options),
             StatusIs(kDenied, "self-signed"));
  const auto middle = TrustAnchors::Create(std::vector{second.certificate});
  CHECK_THAT(VerifyPath(leaf.certificate, {}, *middle, options), IsOk());

  const std::vector<Certificate> many(kMaxIntermediateCount + 1,
                                      other.certificate);
  CHECK_THAT(VerifyPath(leaf.certificate, many, *anchors, options),
             StatusIs(absl::StatusCode::kResourceExhausted));
  CHECK_THAT(VerifyPath(leaf.certificate, {}, *anchors,
                        {.time = absl::InfiniteFuture(), .required_eku = ""}),
             StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_CASE("A root is a CA, and no leaf") {
  CHECK_THAT(StatusOf(TrustAnchors::Create({})),
             StatusIs(absl::StatusCode::kInvalidArgument, "no root"));
  const TestCertificate leaf =
      MakeCertificate(EkSpec(FakeKeyKind::kEcP256, 64));
  CHECK_THAT(StatusOf(TrustAnchors::Create(std::vector{leaf.certificate})),
             StatusIs(absl::StatusCode::kInvalidArgument, "no CA"));
  const TestCertificate root = MakeCertificate(CaSpec("Root", 60));
  const auto anchors = TrustAnchors::Create(std::vector{root.certificate});
  CHECK_THAT(VerifyPath(root.certificate, {}, *anchors,
                        {.time = TestTime(), .required_eku = ""}),
             StatusIs(kDenied, "no leaf"));
}

}  // namespace
}  // namespace cupel::crypto
