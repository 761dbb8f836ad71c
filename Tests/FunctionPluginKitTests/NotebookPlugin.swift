import FunctionPluginKit
import Services
import Synchronization

/// A plugin of the smallest kind: its functions are entries in a notebook.
final class NotebookPlugin: FunctionPlugin {
  struct PluginConfiguration: Decodable, Sendable {
    var pages: Int
  }

  static let name = "notebook"
  static let deviceClass = "notebook"
  static let version = "1"
  static let configurationSchema = "{}"

  let context: PluginContext
  private let pages: Int
  private let entries = Mutex<[String: FunctionPhase]>([:])
  private let watchers = Mutex<[AsyncStream<Void>.Continuation]>([])
  private let inside = Mutex<[String: Int]>([:])
  /// What the end node is shown with: each number that was settled.
  private let settled = Mutex<[String]>([])

  init(configuration: PluginConfiguration, context: PluginContext) async throws {
    pages = configuration.pages
    self.context = context
  }

  func describe() -> PluginOffer { PluginOffer(capabilities: Capabilities { $0.paths = [.direct] }) }

  func discover() async throws -> [EndNode] {
    let pages = UInt32(pages)
    let (ordered, settled) = (context.functionCount(of: "notebook/1"), settled.withLock { $0 })
    return [
      EndNode {
        $0.id = "notebook/1"
        $0.labels = ["settled": settled.joined(separator: ",")]
        $0.physicalFunction = PhysicalFunction { $0.functionCount = FunctionCount { $0.ordered = ordered } }
        $0.capacity = Capacity { $0.functions = pages }
      }
    ]
  }

  func watch() -> AsyncStream<Void> {
    let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    watchers.withLock { $0.append(continuation) }
    return stream
  }

  func takeControl(_ request: ControlRequest) async throws {
    let former = request.formerControlTokens.map { "\($0.value)" }
    guard !former.contains("6") else { throw PluginError(.unavailable, "Who has token 6 cannot be reached.") }
  }

  /// 13 pages are nothing that this notebook can have.
  func settleFunctionCount(of endNode: String) async throws {
    let count = context.functionCount(of: endNode)
    settled.withLock { $0.append(count.map { "\($0)" } ?? "none") }
    guard count != 13 else { throw PluginError(.unavailable, "There is no such paper.") }
  }

  func create(_ request: FunctionRequest) async throws -> FunctionStatus { try await turn(request, to: .created) }
  func destroy(_ request: FunctionRequest) async throws -> FunctionStatus { try await turn(request, to: .absent) }
  func attach(_ request: FunctionRequest) async throws -> FunctionStatus { try await turn(request, to: .inUse) }
  func detach(_ request: FunctionRequest) async throws -> FunctionStatus { try await turn(request, to: .created) }

  func fence(_ request: FunctionRequest) async throws -> FunctionStatus {
    throw PluginError(.unavailable, "This notebook cannot be closed from outside.")
  }

  func observe() async throws -> [FunctionStatus] {
    context.knownFunctions.map { request in
      let phase = entries.withLock { $0[request.assignment?.function ?? ""] } ?? .absent
      return FunctionStatus(request, phase)
    }
  }

  /// Leaves its identity to the kit, and fails when two verbs of one function are in here.
  private func turn(_ request: FunctionRequest, to phase: FunctionPhase) async throws -> FunctionStatus {
    let function = request.assignment?.function ?? ""
    let others = inside.withLock { inside in
      defer { inside[function, default: 0] += 1 }
      return inside[function] ?? 0
    }
    guard others == 0 else { throw PluginError(.internalError, "Two verbs at once.") }
    for _ in 0..<10 { await Task.yield() }
    inside.withLock { $0[function, default: 1] -= 1 }
    entries.withLock { $0[function] = phase }
    for watcher in watchers.withLock({ $0 }) { watcher.yield() }
    return FunctionStatus { $0.phase = phase }
  }
}
