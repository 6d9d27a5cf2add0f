"""A bag through the segmentation node; with `out:=FOLDER`, its masks are scored once the bag has ended."""

from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage

from launch import LaunchContext, LaunchDescription

SHARE = Path(__file__).resolve().parents[1]

ARGUMENTS = {
    "rate": ("1.0", "Speed of the bag."),
    "loop": ("false", "Start the bag again at its end."),
    "model": ("road_student", "Model bundle."),
    "out": ("", "Folder for report.html and report.json; empty: no evaluation."),
    "rviz": ("false", "Show the outputs in RViz."),
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="rosbag2 folder, or an .mcap or .db3 file."),
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in ARGUMENTS.items()
            ),
            # First, because it sets the shared-memory profile, which the player and RViz need as well.
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(SHARE / "launch" / "seg.launch.py")),
                launch_arguments={"use_sim_time": "true", "model": LaunchConfiguration("model")}.items(),
            ),
            OpaqueFunction(function=player_and_evaluation),
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", str(SHARE / "config" / "seg.rviz")],
                parameters=[{"use_sim_time": True}],
                condition=IfCondition(LaunchConfiguration("rviz")),
            ),
        ]
    )


def player_and_evaluation(context: LaunchContext) -> list[Node | RegisterEventHandler]:
    value = {name: LaunchConfiguration(name).perform(context) for name in ("bag", *ARGUMENTS)}
    loop = ["--loop"] if value["loop"].lower() == "true" else []
    player = Node(
        package="road_kd_seg",
        executable="bag_player",
        output="screen",
        arguments=[value["bag"], "--clock", "--rate", value["rate"], "--wait-for-subscribers", "60", *loop],
    )
    done = Shutdown(reason="the bag has ended")
    if not value["out"]:
        return [player, RegisterEventHandler(OnProcessExit(target_action=player, on_exit=[done]))]
    replay_eval = ExecutableInPackage(package="road_kd_seg", executable="replay_eval")
    evaluation = ExecuteProcess(
        cmd=[replay_eval, value["bag"], "--model", value["model"], "--out", value["out"]], output="screen"
    )
    return [
        player,
        RegisterEventHandler(OnProcessExit(target_action=player, on_exit=[evaluation])),
        RegisterEventHandler(OnProcessExit(target_action=evaluation, on_exit=[Shutdown(reason="evaluated")])),
    ]
