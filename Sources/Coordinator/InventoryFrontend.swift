import Arbitration
import Messages
import Services

/// `iov.v1.Inventory`: what there is.
struct InventoryFrontend: InventoryService {
  let arbiter: DurableArbiter
  let questions: HostQuestions

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
    let functions = arbiter.read { $0.listedFunctions }
    return ListFunctionsResponse { $0.functions = functions }
  }

  func getStatistics(_ request: GetStatisticsRequest, call: ServerCall) async throws -> GetStatisticsResponse {
    let readings = await questions.readings(of: try assignments(request.function))
    return GetStatisticsResponse { $0.functions = readings }
  }

  /// - Parameter function: empty: all.
  private func assignments(_ function: String) throws -> [Assignment] {
    guard !function.isEmpty else { return arbiter.read { $0.listedFunctions }.compactMap(\.assignment) }
    guard let assignment = arbiter.read({ $0.assignment(ofFunction: function) }) else {
      throw RPCError(.notFound, "no function '\(function)' is granted; iov function list shows all")
    }
    return [assignment]
  }
}
