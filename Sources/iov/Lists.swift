import Services

/// Lists of what there may be very many of, which come in pages.
extension Coordinator {
  private static let pageSize: UInt32 = 1000

  /// - Parameter endNode: the one that the request names.
  func claims(_ request: ListClaimsRequest, endNode: EndNode? = nil) async throws -> ListClaimsResponse {
    var (request, all) = (request, ListClaimsResponse())
    request.pageSize = Self.pageSize
    let names = Self.names(request.endNode, endNode)
    repeat {
      let page = try await ask { [request] in try await claims.listClaims(request, options: .command) }
      if request.pageToken.isEmpty { all.revision = page.revision }
      all.claims += page.claims.filter { request.includes($0, endNodeNames: names) }
      request.pageToken = page.nextPageToken
    } while !request.pageToken.isEmpty
    return all
  }

  func functions(_ request: ListFunctionsRequest, endNode: EndNode? = nil) async throws -> ListFunctionsResponse {
    var (request, all) = (request, ListFunctionsResponse())
    request.pageSize = Self.pageSize
    let names = Self.names(request.endNode, endNode)
    repeat {
      let page = try await ask { [request] in try await inventory.listFunctions(request, options: .command) }
      all.functions += page.functions.filter { function in
        function.assignment.map { request.includes($0, endNodeNames: names) } ?? false
      }
      request.pageToken = page.nextPageToken
    } while !request.pageToken.isEmpty
    return all
  }

  /// Of those whose names may have been meant there may be very many: those of the end node that an id names, or the first page.
  func functions(beside id: String) async throws -> [Assignment] {
    let endNode = id.split(separator: "/").dropLast().joined(separator: "/")
    let there = try await functions(ListFunctionsRequest { $0.prefix = endNode + "/" }).functions
    guard there.isEmpty else { return there.compactMap(\.assignment) }
    let request = ListFunctionsRequest { $0.pageSize = Self.pageSize }
    return try await ask { try await inventory.listFunctions(request, options: .command) }.functions
      .compactMap(\.assignment)
  }

  private static func names(_ asked: String, _ endNode: EndNode?) -> Set<String> {
    Set([asked, endNode?.id, endNode?.name].compactMap { $0 })
  }

  /// The one of this name or id.
  func endNode(named name: String) async throws -> EndNode {
    let all = try await ask { try await inventory.listEndNodes(ListEndNodesRequest(), options: .command) }.endNodes
    return try all.known(name)
  }
}

extension [EndNode] {
  func known(_ name: String) throws(RPCError) -> EndNode {
    guard let node = first(where: { $0.id == name }) ?? first(where: { $0.name == name }) else {
      throw RPCError(.notFound, "no end node '\(name)'" + suggestion(for: name, among: map(\.name), of: "end node"))
    }
    return node
  }
}
