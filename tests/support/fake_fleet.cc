#include "tests/support/fake_fleet.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <mutex>

#include "common/crypto/digest.h"
#include "common/crypto/openssl.h"
#include "common/util/bytes.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"

namespace cupel::testing {
namespace {

using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;

void Require(bool ok, const char* what) {
  if (ok) return;
  std::cerr << "fake verifier: " << what << '\n';
  std::abort();
}

Status NoAgent(const std::string& id) {
  return {StatusCode::NOT_FOUND, "there is no agent " + id};
}

bool Fits(const v1::Selector& selector, const v1::Agent& agent) {
  if (selector.all()) return true;
  if (!selector.agent_id().empty()) {
    return selector.agent_id() == agent.agent_id();
  }
  for (const auto& [key, value] : selector.labels()) {
    const auto& labels = agent.settings().labels();
    const auto found = labels.find(key);
    if (found == labels.end() || found->second != value) return false;
  }
  return true;
}

template <typename Write>
std::string ToPem(Write write) {
  const crypto::Owned<BIO> bio(BIO_new(BIO_s_mem()));
  Require(bio != nullptr && write(bio.get()) == 1, "writing PEM");
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

}  // namespace

class FakeFleet::Services final : public v1::Fleet::Service {
 public:
  // v1::Fleet and v1::Policies have methods of the same names.
  class PolicyService final : public v1::Policies::Service {
   public:
    explicit PolicyService(Services& all) : all_(all) {}

    Status Put(ServerContext*, grpc::ServerReader<v1::PutPolicyRequest>* reader,
               v1::PutPolicyReply* reply) override {
      v1::PutPolicyRequest request;
      Require(reader->Read(&request), "an empty stream");
      const std::string name = request.name();
      const bool create = request.create();
      std::string file;
      while (reader->Read(&request)) file += request.data();
      const std::lock_guard lock(all_.mutex_);
      ++all_.state_.calls;
      auto& policies = all_.state_.policies;
      if (create && policies.contains(name)) {
        return {StatusCode::ALREADY_EXISTS, "there is a policy " + name};
      }
      if (!create && !policies.contains(name)) {
        return {StatusCode::NOT_FOUND, "there is no policy " + name};
      }
      policies[name] = file;
      reply->mutable_policy()->set_name(name);
      reply->mutable_policy()->set_version(create ? 1 : 2);
      reply->mutable_policy()->set_size(file.size());
      for (const std::string& warning : all_.state_.warnings) {
        reply->add_warnings(warning);
      }
      return Status::OK;
    }

    Status Get(ServerContext*, const v1::GetPolicyRequest* request,
               grpc::ServerWriter<v1::PolicyChunk>* writer) override {
      const std::lock_guard lock(all_.mutex_);
      ++all_.state_.calls;
      const auto found = all_.state_.policies.find(request->name());
      if (found == all_.state_.policies.end()) {
        return {StatusCode::NOT_FOUND, "there is no policy " + request->name()};
      }
      v1::PolicyChunk chunk;
      chunk.mutable_policy()->set_name(found->first);
      chunk.mutable_policy()->set_version(7);
      chunk.mutable_policy()->set_content_id(
          crypto::Hash(crypto::HashAlgorithm::kSha256, AsBytes(found->second))
              .Hex());
      const std::string file = all_.state_.damaged_policy.empty()
                                   ? found->second
                                   : all_.state_.damaged_policy;
      // In two pieces, as a large one would come.
      chunk.set_data(file.substr(0, file.size() / 2));
      writer->Write(chunk);
      chunk.Clear();
      chunk.set_data(file.substr(file.size() / 2));
      writer->Write(chunk);
      return Status::OK;
    }

    Status Delete(ServerContext*, const v1::DeletePolicyRequest* request,
                  v1::DeletePolicyReply*) override {
      const std::lock_guard lock(all_.mutex_);
      ++all_.state_.calls;
      for (const auto& [id, agent] : all_.state_.agents) {
        for (const std::string& name : agent.settings().policies()) {
          if (name == request->name()) {
            return {StatusCode::FAILED_PRECONDITION,
                    "agent " + id + " uses it"};
          }
        }
      }
      if (all_.state_.policies.erase(request->name()) == 1) return Status::OK;
      return {StatusCode::NOT_FOUND, "there is no policy " + request->name()};
    }

    Status List(ServerContext*, const v1::ListPoliciesRequest*,
                v1::ListPoliciesReply* reply) override {
      const std::lock_guard lock(all_.mutex_);
      ++all_.state_.calls;
      for (const auto& [name, file] : all_.state_.policies) {
        v1::PolicyInfo* const info = reply->add_policies();
        info->set_name(name);
        info->set_size(file.size());
      }
      return Status::OK;
    }

   private:
    Services& all_;
  };

  Services(const TestCertificate& certificate, const std::string& operator_ca)
      : policies_(*this) {
    grpc::SslServerCredentialsOptions options(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    options.pem_root_certs = operator_ca;
    options.pem_key_cert_pairs.push_back(
        {certificate.key_pem, certificate.certificate_pem});
    grpc::ServerBuilder builder;
    builder.AddListeningPort("localhost:0", grpc::SslServerCredentials(options),
                             &port_);
    builder.RegisterService(this);
    builder.RegisterService(&policies_);
    server_ = builder.BuildAndStart();
    Require(server_ != nullptr && port_ != 0, "no port");
  }
  ~Services() override {
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
  }

  Status AddAgent(ServerContext*, const v1::AddAgentRequest* request,
                  v1::AddAgentReply* reply) override {
    const std::lock_guard lock(mutex_);
    ++state_.calls;
    if (state_.agents.contains(request->agent_id()) &&
        state_.agents[request->agent_id()].state() != v1::STATE_ENROLLED) {
      return {StatusCode::ALREADY_EXISTS, "it was added before"};
    }
    if (state_.room == 0) return {StatusCode::UNAVAILABLE, "the disk is full"};
    --state_.room;
    for (const std::string& name : request->settings().policies()) {
      if (!state_.policies.contains(name)) {
        return {StatusCode::NOT_FOUND, "there is no policy " + name};
      }
    }
    state_.add = *request;
    v1::Agent& agent = state_.agents[request->agent_id()];
    agent.set_agent_id(request->agent_id());
    agent.set_state(v1::STATE_EXPECTED);
    agent.set_ek_sha256(request->ek_sha256());
    *agent.mutable_settings() = request->settings();
    *reply->mutable_agent() = agent;
    return Status::OK;
  }

  Status UpdateAgents(ServerContext*, const v1::UpdateAgentRequest* request,
                      v1::UpdateAgentReply* reply) override {
    const std::lock_guard lock(mutex_);
    ++state_.calls;
    state_.update = *request;
    for (const auto& [id, agent] : state_.agents) {
      if (!Fits(request->selector(), agent)) continue;
      reply->set_updated_count(reply->updated_count() + 1);
    }
    return Status::OK;
  }

  Status DeleteAgent(ServerContext*, const v1::DeleteAgentRequest* request,
                     v1::DeleteAgentReply*) override {
    const std::lock_guard lock(mutex_);
    ++state_.calls;
    return state_.agents.erase(request->agent_id()) == 1
               ? Status::OK
               : NoAgent(request->agent_id());
  }

  Status GetAgent(ServerContext*, const v1::GetAgentRequest* request,
                  v1::Agent* reply) override {
    return With(request->agent_id(),
                [&](const v1::Agent& agent) { *reply = agent; });
  }

  // One agent a page, so that clients have to turn pages.
  Status ListAgents(ServerContext*, const v1::ListAgentsRequest* request,
                    v1::ListAgentsReply* reply) override {
    const std::lock_guard lock(mutex_);
    ++state_.calls;
    for (const auto& [id, agent] : state_.agents) {
      if (id <= request->page_token() || !Fits(request->selector(), agent)) {
        continue;
      }
      *reply->add_agents() = agent;
      reply->set_next_page_token(id);
      break;
    }
    return Status::OK;
  }

  Status ListEnrolled(ServerContext*, const v1::ListEnrolledRequest*,
                      v1::ListEnrolledReply* reply) override {
    const std::lock_guard lock(mutex_);
    ++state_.calls;
    for (const v1::Agent& agent : state_.enrolled) {
      *reply->add_agents() = agent;
    }
    return Status::OK;
  }

  Status Reactivate(ServerContext*, const v1::ReactivateRequest* request,
                    v1::ReactivateReply* reply) override {
    return With(request->agent_id(), [&](v1::Agent& agent) {
      state_.reactivate = *request;
      agent.set_state(v1::STATE_PENDING);
      *reply->mutable_agent() = agent;
    });
  }

  Status Stop(ServerContext*, const v1::StopRequest* request,
              v1::StopReply*) override {
    return With(request->agent_id(), [&](v1::Agent& agent) {
      agent.set_state(v1::STATE_STOPPED);
      state_.stopped.push_back(request->agent_id());
    });
  }

  Status AttestNow(ServerContext*, const v1::AttestNowRequest* request,
                   v1::AttestNowReply*) override {
    return With(request->agent_id(), [&](const v1::Agent&) {
      state_.attested.push_back(request->agent_id());
    });
  }

  Status AllowEks(ServerContext*, const v1::AllowEksRequest* request,
                  v1::AllowEksReply*) override {
    const std::lock_guard lock(mutex_);
    ++state_.calls;
    for (const std::string& ek : request->ek_sha256()) {
      if (request->remove()) {
        state_.allowed_eks.erase(ek);
      } else {
        state_.allowed_eks.insert(ek);
      }
    }
    return Status::OK;
  }

  // One a page.
  Status ListAllowedEks(ServerContext*,
                        const v1::ListAllowedEksRequest* request,
                        v1::ListAllowedEksReply* reply) override {
    const std::lock_guard lock(mutex_);
    ++state_.calls;
    const auto next = state_.allowed_eks.upper_bound(request->page_token());
    if (next == state_.allowed_eks.end()) return Status::OK;
    reply->add_eks()->set_ek_sha256(*next);
    reply->set_next_page_token(*next);
    return Status::OK;
  }

  Status CreateToken(ServerContext*, const v1::CreateTokenRequest* request,
                     v1::CreateTokenReply* reply) override {
    const std::lock_guard lock(mutex_);
    state_.token = *request;
    reply->set_token("token-" + std::to_string(++state_.calls));
    return Status::OK;
  }

  Status Watch(ServerContext*, const v1::WatchRequest* request,
               grpc::ServerWriter<v1::Event>* writer) override {
    const std::lock_guard lock(mutex_);
    ++state_.calls;
    state_.watch = *request;
    for (const v1::Event& event : state_.events) writer->Write(event);
    return Status::OK;
  }

  int port() const { return port_; }
  FakeFleetState& state() { return state_; }

 private:
  template <typename Visit>
  Status With(const std::string& id, Visit visit) {
    const std::lock_guard lock(mutex_);
    ++state_.calls;
    const auto found = state_.agents.find(id);
    if (found == state_.agents.end()) return NoAgent(id);
    visit(found->second);
    return Status::OK;
  }

  std::mutex mutex_;
  FakeFleetState state_;
  PolicyService policies_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

FakeFleet::FakeFleet(const TestCertificate& certificate,
                     const std::string& operator_ca)
    : services_(std::make_unique<Services>(certificate, operator_ca)) {}
FakeFleet::~FakeFleet() = default;

int FakeFleet::port() const { return services_->port(); }
FakeFleetState& FakeFleet::state() { return services_->state(); }

TestOperator MakeTestOperator(const std::string& name) {
  const crypto::Owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
  const crypto::Owned<X509> certificate(X509_new());
  Require(key != nullptr && certificate != nullptr, "OpenSSL");
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_NAME* const subject = X509_get_subject_name(certificate.get());
  std::string text = name;
  Require(X509_NAME_add_entry_by_txt(
              subject, "CN", MBSTRING_UTF8,
              std::vector<unsigned char>(text.begin(), text.end()).data(),
              static_cast<int>(text.size()), -1, 0) == 1,
          "a subject");
  X509_set_issuer_name(certificate.get(), subject);
  Require(X509_set_pubkey(certificate.get(), key.get()) == 1, "a key");
  Require(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0,
          "a signature");
  return {ToPem([&](BIO* bio) {
            return PEM_write_bio_X509(bio, certificate.get());
          }),
          ToPem([&](BIO* bio) {
            return PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0,
                                            nullptr, nullptr);
          })};
}

}  // namespace cupel::testing
