import Identities
import Services

/// Who may call what over TCP, by the names in the caller's certificate. A Unix socket is as its permissions and the kernel say;
/// a plain-text listener asks for no names, which its configuration says in so many words.
struct CallAccess: ServerInterceptor {
  /// Whose certificates count; nil: no listener asks for any.
  let cluster: String?

  /// What an agent may ask beside its session: what its host's doctor looks at, and nothing that changes anything.
  private static let agentQuestions: Set<String> = [
    "/iov.v1.Inventory/GetCluster", "/iov.v1.Inventory/ListHosts", "/iov.v1.Operations/GetStatus",
  ]

  func intercept(_ call: ServerCall, _ next: () async throws -> Void) async throws {
    try check(call.path, call.peer.identity)
    try await next()
  }

  func check(_ path: String, _ names: [String]?) throws(RPCError) {
    guard let names else { return }
    let identities = try identities(names)
    // Health and reflection are for everybody in the cluster.
    guard path.hasPrefix("/iov.v1.") else { return }
    let isSession = path.hasPrefix("/iov.v1.AgentSessions/")
    let mayCall = identities.contains { identity in
      switch identity.role {
      case .operator: !isSession
      case .agent: isSession || Self.agentQuestions.contains(path)
      case .coordinator, .tenant: false
      }
    }
    guard mayCall else {
      let caller = identities.map(\.description).joined(separator: ", ")
      throw RPCError(
        .permissionDenied,
        isSession
          ? "\(caller) is no agent, and only agents have sessions: use the host's certificate (iov pki issue agent)"
          : "\(caller) may not call \(path): that takes an operator's certificate (iov pki issue operator)")
    }
  }

  /// An agent speaks for its own host alone.
  func checkHost(_ host: String, _ names: [String]?) throws(RPCError) {
    guard let names else { return }
    let identities = try identities(names)
    guard identities.contains(where: { $0.role == .agent(host: host) }) else {
      throw RPCError(
        .permissionDenied,
        "the agent says it is host '\(host)', and its certificate is for "
          + "\(identities.map(\.description).joined(separator: ", ")): correct `host` in its configuration, or give it the "
          + "certificate of that host")
    }
  }

  private func identities(_ names: [String]) throws(RPCError) -> [ClusterIdentity] {
    let all = names.compactMap { ClusterIdentity(uri: $0) }
    let identities = all.filter { $0.cluster == cluster }
    guard identities.isEmpty else { return identities }
    throw RPCError(
      .permissionDenied,
      "the certificate is for \(names.isEmpty ? "nobody" : names.joined(separator: ", ")), and nobody in the cluster "
        + "'\(cluster ?? "")'")
  }
}
