import Arbitration
import Messages
import Services

/// `iov.v1.Inventory`: what there is.
struct InventoryFrontend: InventoryService {
  let arbiter: DurableArbiter
  let questions: HostQuestions

  /// How many functions are looked up before others have their turn with the arbiter.
  private static let readAtOnce = 1000

  func getCluster(_ request: GetClusterRequest, call: ServerCall) async throws -> Cluster {
    arbiter.read { $0.cluster }
  }

  func listHosts(_ request: ListHostsRequest, call: ServerCall) async throws -> ListHostsResponse {
    let hosts = arbiter.read { $0.listedHosts }
    return ListHostsResponse { $0.hosts = hosts }
  }

  func listEndNodes(_ request: ListEndNodesRequest, call: ServerCall) async throws -> ListEndNodesResponse {
    let endNodes = arbiter.read { $0.listedEndNodes }
    return ListEndNodesResponse { $0.endNodes = endNodes }
  }

  func listFunctions(_ request: ListFunctionsRequest, call: ServerCall) async throws -> ListFunctionsResponse {
    let (found, next) = arbiter.board.functions(request, endNodeNames: arbiter.names(ofEndNode: request.endNode))
    var functions: [AssignedFunction] = []
    for start in stride(from: 0, to: found.count, by: Self.readAtOnce) {
      let ids = found[start..<min(start + Self.readAtOnce, found.count)].map(\.function)
      // One that is no more is left out.
      functions += arbiter.read { arbiter in ids.compactMap { arbiter.function(withID: $0) } }
    }
    return ListFunctionsResponse { [functions] in
      $0.functions = functions
      $0.nextPageToken = next
    }
  }

  func getStatistics(_ request: GetStatisticsRequest, call: ServerCall) async throws -> GetStatisticsResponse {
    let readings = await questions.readings(of: try assignments(request.function))
    return GetStatisticsResponse { $0.functions = readings }
  }

  /// - Parameter function: empty: all.
  private func assignments(_ function: String) throws -> [Assignment] {
    guard !function.isEmpty else {
      return arbiter.board.functions(ListFunctionsRequest(), endNodeNames: []).found
    }
    guard let assignment = arbiter.read({ $0.assignment(ofFunction: function) }) else {
      throw RPCError(.notFound, "no function '\(function)' is granted; iov function list shows all")
    }
    return [assignment]
  }
}
