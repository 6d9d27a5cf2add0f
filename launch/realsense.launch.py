"""RealSense driver with aligned depth, the segmentation node, and RViz on request."""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

SHARE = Path(__file__).resolve().parents[1]


def generate_launch_description() -> LaunchDescription:
    # First, because it sets the shared-memory profile, which the driver and RViz need as well.
    segmentation = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "seg.launch.py")),
        launch_arguments={"camera": "/camera/camera"}.items(),
    )
    driver = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([FindPackageShare("realsense2_camera"), "launch", "rs_launch.py"])
        ),
        launch_arguments={
            "camera_namespace": "camera",
            "camera_name": "camera",
            "align_depth.enable": "true",
            "enable_sync": "true",
        }.items(),
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", str(SHARE / "config" / "seg.rviz")],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument("rviz", default_value="true", description="Show the outputs in RViz."),
            segmentation,
            driver,
            rviz,
        ]
    )
