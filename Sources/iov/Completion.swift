import ArgumentParser
import Services

/// Names that the shell offers at a press of the tabulator key, as the coordinator has them now.
///
/// A coordinator that is away or slow must not hold up somebody's typing, and there is no place for an error to be shown:
/// then there are no names.
enum NameCompletion {
  static let claims = kind { try await $0.claims.listClaims(ListClaimsRequest(), options: options).claims.map(\.name) }

  static let hosts = kind { try await $0.inventory.listHosts(ListHostsRequest(), options: options).hosts.map(\.name) }

  static let endNodes = kind {
    try await $0.inventory.listEndNodes(ListEndNodesRequest(), options: options).endNodes.map(\.name)
  }

  static let functions = kind {
    try await $0.inventory.listFunctions(ListFunctionsRequest(), options: options).functions
      .compactMap { $0.assignment?.function }
  }

  static let functionsAndClaims = kind {
    try await $0.inventory.listFunctions(ListFunctionsRequest(), options: options).functions
      .flatMap { [$0.assignment?.function, $0.assignment?.claim].compactMap { $0 } }
  }

  static let tenants = kind {
    try await $0.operations.listTenants(ListTenantsRequest(), options: options).tenants.map(\.name)
  }

  static let orphans = kind {
    try await $0.operations.listOrphans(ListOrphansRequest(), options: options).orphans.map(\.functionID)
  }

  private static let options = CallOptions(timeout: .milliseconds(700))

  private static func kind(_ names: @escaping @Sendable (Coordinator) async throws -> [String]) -> CompletionKind {
    .custom { words, _, prefix in
      guard let coordinator = try? Self.coordinator(for: words) else { return [] }
      let found = (try? await names(coordinator)) ?? []
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
