import ArgumentParser
import Services

/// Names that the shell offers at a press of the tabulator key, as the coordinator has them now.
///
/// A coordinator that is away or slow must not hold up somebody's typing, and there is no place for an error to be shown:
/// then there are no names.
enum NameCompletion {
  static let claims = kind { try await claimsFound($0, beginningWith: $1).map(\.name) }

  static let hosts = kind { coordinator, _ in
    try await coordinator.inventory.listHosts(ListHostsRequest(), options: options).hosts.map(\.name)
  }

  static let endNodes = kind { coordinator, _ in
    try await coordinator.inventory.listEndNodes(ListEndNodesRequest(), options: options).endNodes.map(\.name)
  }

  static let functions = kind { try await functionsFound($0, beginningWith: $1) }

  static let functionsAndClaims = kind { coordinator, prefix in
    let claims = try await claimsFound(coordinator, beginningWith: prefix).filter { $0.status?.assignment != nil }
    return try await functionsFound(coordinator, beginningWith: prefix) + claims.map(\.name)
  }

  static let tenants = kind { coordinator, _ in
    try await coordinator.operations.listTenants(ListTenantsRequest(), options: options).tenants.map(\.name)
  }

  static let orphans = kind { coordinator, _ in
    try await coordinator.operations.listOrphans(ListOrphansRequest(), options: options).orphans.map(\.functionID)
  }

  /// As many as anybody reads.
  private static let mostOffered: UInt32 = 1000

  private static func claimsFound(_ coordinator: Coordinator, beginningWith prefix: String) async throws -> [Claim] {
    let request = ListClaimsRequest {
      $0.prefix = prefix
      $0.pageSize = mostOffered
    }
    return try await coordinator.claims.listClaims(request, options: options).claims
  }

  private static func functionsFound(
    _ coordinator: Coordinator, beginningWith prefix: String
  ) async throws -> [String] {
    let request = ListFunctionsRequest {
      $0.prefix = prefix
      $0.pageSize = mostOffered
    }
    return try await coordinator.inventory.listFunctions(request, options: options).functions
      .compactMap { $0.assignment?.function }
  }

  private static let options = CallOptions(timeout: .milliseconds(700))

  /// - Parameter names: those that begin with what has been typed, and perhaps others.
  private static func kind(
    _ names: @escaping @Sendable (Coordinator, _ prefix: String) async throws -> [String]
  ) -> CompletionKind {
    .custom { words, _, prefix in
      guard let coordinator = try? Self.coordinator(for: words) else { return [] }
      let found = (try? await names(coordinator, prefix)) ?? []
      await coordinator.channel.close()
      return Set(found).filter { $0.hasPrefix(prefix) }.sorted()
    }
  }

  /// The coordinator that the line being typed means.
  private static func coordinator(for words: [String]) throws -> Coordinator {
    let endpoint = try ConnectionOptions.endpoint(named: coordinator(in: words))
    let security = try ConnectionOptions.security(
      for: endpoint, directory: option("--tls", in: words), plainText: words.contains("--plain-text"))
    return Coordinator(endpoint, security: security, patience: Patience(seconds: 0))
  }

  /// What the line being typed says about the coordinator.
  static func coordinator(in words: [String]) -> String? { option("--coordinator", in: words) }

  private static func option(_ name: String, in words: [String]) -> String? {
    for (index, word) in words.enumerated() {
      if word.hasPrefix(name + "=") { return String(word.dropFirst(name.count + 1)) }
      if word == name, index + 1 < words.count { return words[index + 1] }
    }
    return nil
  }
}
