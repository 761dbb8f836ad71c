import FunctionPluginKit
import LinuxDevices
import Services

extension BlockPlugin {
  /// A name leads to one function's device. Claims have different names, but a function may still be under that of a former claim:
  /// an orphan that another claim has adopted keeps what its consumer knows it by. As long as that is in use, as observed, it has the
  /// name; whoever would have it, too, is tried again.
  ///
  /// What the same claim had before is on its way out.
  func refuseTakenName(_ plan: FunctionPlan) throws {
    let assignment = plan.request.assignment ?? Assignment()
    for request in context.knownFunctions {
      guard let other = request.assignment, other.function != plan.function, other.claim == assignment.claim,
        other.claimUid != assignment.claimUid,
        let arrival = try? observe(request).arrival, let name = plan.handover.nameTaken(by: arrival)
      else { continue }
      throw PluginError(
        .alreadyExists,
        "\(name), which is for claim '\(assignment.claim)' by its name, is what \(other.function) is in use as on host "
          + "\(context.hostName): it was made for another claim of that name. Release the claim that has it now, or claim under "
          + "another name")
    }
  }
}

extension Handover {
  /// Which of the names is that of somebody else's device; nil: none.
  fileprivate func nameTaken(by arrival: Arrival) -> String? {
    if let link, link.leads(to: arrival.devicePath) { return link.path }
    guard let name = container?.qualifiedName, name == arrival.cdiDevice else { return nil }
    return name
  }
}
