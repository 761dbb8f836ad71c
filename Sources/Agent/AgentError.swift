/// Why the agent cannot go on, for the operator who must act.
public struct AgentError: Error, Hashable, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = description }
}
